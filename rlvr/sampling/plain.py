"""The engine for every model: transformers' own `generate`, with our draws and endings."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from rlvr.sampling.engine import (
    Completions,
    Draw,
    OnFinished,
    Rows,
    Sampling,
    eos_token_ids,
    processors,
)
from rlvr.sampling.stop import StopRule


class PlainEngine:
    name = "plain"

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    @torch.no_grad()
    def sample(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        stop: StopRule,
        seeds: Sequence[int],
        on_finished: OnFinished | None = None,
    ) -> Completions:
        """See `Engine.sample`."""
        ids, mask = pad_left(prompts, self.tokenizer.pad_token_id)  # (B, P)
        eos = eos_token_ids(model, self.tokenizer)
        rows = Rows(self.tokenizer, prompts, stop, eos, on_finished)
        # The repetition penalty must not see padding: a token of the row's own is none.
        history = torch.where(mask.bool(), ids, ids.gather(1, mask.argmax(1, keepdim=True)))
        draw = Draw(sampling, seeds, model.device)
        choose = Choose(processors(sampling, self.tokenizer), draw, history.to(model.device))
        model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=_settings(sampling, eos, self.tokenizer.pad_token_id),
            logits_processor=LogitsProcessorList([choose]),
            stopping_criteria=StoppingCriteriaList([Ended(rows, ids.shape[1])]),
            synced_gpus=False,  # every process has whole weights and its own number of batches
        )
        return rows.finished()


def pad_left(rows: Sequence[Sequence[int]], value: int) -> tuple[Tensor, Tensor]:
    """Ragged rows as ids (B, P) and mask (B, P)."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[value] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def _settings(sampling: Sampling, eos: list[int], pad_token_id: int) -> GenerationConfig:
    """Greedy, because `Choose` has drawn already; None would mean the model's own value."""
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        do_sample=False,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
        repetition_penalty=1.0,
        typical_p=1.0,
        num_beams=1,
        no_repeat_ngram_size=0,
        eos_token_id=eos,
        pad_token_id=pad_token_id,
        use_cache=True,
        disable_compile=True,
    )


class Choose(LogitsProcessor):
    """Draws the next tokens, and leaves nothing else to choose from."""

    def __init__(self, chain: LogitsProcessorList, draw: Draw, prompts: Tensor) -> None:
        self.chain, self.draw, self.prompts = chain, draw, prompts  # (B, P)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        sampled = input_ids[:, self.prompts.shape[1] :]  # (B, step)
        processed = self.chain(torch.cat([self.prompts, sampled], dim=1), scores.float())
        rows = torch.arange(len(scores), device=scores.device)
        tokens = self.draw(processed, rows, sampled.shape[1])
        only = torch.full_like(scores, float("-inf"))
        return only.scatter(1, tokens[:, None], 0.0)


class Ended(StoppingCriteria):
    """Tells `generate` which rows are done. It may be asked less often than once a token."""

    def __init__(self, rows: Rows, prompt_length: int) -> None:
        self.rows, self.seen = rows, prompt_length

    def __call__(self, input_ids: Tensor, scores: object, **kwargs: object) -> Tensor:
        new = input_ids[:, self.seen :].tolist()  # (B, tokens since the last call)
        self.seen = input_ids.shape[1]
        for row, tokens in enumerate(new):
            for token in tokens:
                self.rows.add(row, token)
        return torch.tensor(self.rows.ended, device=input_ids.device)
