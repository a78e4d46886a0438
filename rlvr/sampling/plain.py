"""Sampling completions: one function for training rollouts, pre-flight and evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from rlvr.sampling.stop import StopRule


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens. `temperature=0` is greedy; `top_k=0` and `min_p=0` switch them off."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class Completions:
    """Sampled rows. `ids` end with the token that completed a stop or with EOS; `texts` are cut."""

    ids: list[list[int]]
    texts: list[str]
    ended: list[bool]  # by EOS or the stop rule, not by max_new_tokens


class StopCriterion(StoppingCriteria):
    """Marks a row as done once its completion holds a stop; remembers where that happened."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stop: StopRule, prompt_length: int
    ) -> None:
        self.tokenizer = tokenizer
        self.stop = stop
        self.prompt_length = prompt_length
        self.lengths: dict[int, int] = {}
        self.may_end = _ending_tokens(tokenizer, stop.last_characters)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        completions = input_ids[:, self.prompt_length :].cpu()  # (B, t)
        for row in self.may_end[completions[:, -1]].nonzero().flatten().tolist():
            if row in self.lengths:
                continue
            text = self.tokenizer.decode(completions[row], skip_special_tokens=True)
            if self.stop.find(text) is not None:
                self.lengths[row] = completions.shape[1]
        done = torch.zeros(input_ids.shape[0], dtype=torch.bool)
        done[list(self.lengths)] = True
        return done.to(input_ids.device)


@lru_cache(maxsize=8)
def _ending_tokens(tokenizer: PreTrainedTokenizerBase, characters: frozenset[str]) -> torch.Tensor:
    """(V,) bool: tokens whose text holds one of `characters`; only they can complete a stop."""
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    return torch.tensor([any(c in text for c in characters) for text in texts])


def pad_left(rows: Sequence[Sequence[int]], value: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ragged rows as ids (B, P) and mask (B, P)."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[value] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def generation_config(
    tokenizer: PreTrainedTokenizerBase, sampling: Sampling, eos: list[int]
) -> GenerationConfig:
    """All that shapes the distribution is explicit: None would mean the model's own value."""
    greedy = sampling.temperature == 0
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        do_sample=not greedy,
        temperature=1.0 if greedy else sampling.temperature,
        top_p=1.0 if greedy else sampling.top_p,
        top_k=0 if greedy else sampling.top_k,
        min_p=0.0 if greedy else sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        typical_p=1.0,
        num_beams=1,
        no_repeat_ngram_size=0,
        eos_token_id=eos,
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
        disable_compile=True,
    )


def eos_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every id the model or the tokenizer declares as the end of a sequence."""
    declared = model.generation_config.eos_token_id if model.generation_config else None
    ids = declared if isinstance(declared, list) else [] if declared is None else [declared]
    return list(dict.fromkeys([tokenizer.eos_token_id, *ids]))


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    stop: StopRule,
) -> Completions:
    """One completion for each of the prompts (token ids, B ragged rows), in order."""
    ids, mask = pad_left(prompts, tokenizer.pad_token_id)  # (B, P)
    eos = eos_token_ids(model, tokenizer)
    criterion = StopCriterion(tokenizer, stop, ids.shape[1])
    output = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=generation_config(tokenizer, sampling, eos),
        stopping_criteria=StoppingCriteriaList([criterion]),
        synced_gpus=False,  # every process has whole weights here and its own number of batches
    )
    return _completions(output[:, ids.shape[1] :].tolist(), criterion, set(eos), tokenizer, stop)


def _completions(
    rows: list[list[int]],
    criterion: StopCriterion,
    eos: set[int],
    tokenizer: PreTrainedTokenizerBase,
    stop: StopRule,
) -> Completions:
    ids, ended = [], []
    for index, row in enumerate(rows):
        end = next((i + 1 for i, token in enumerate(row) if token in eos), None)
        stopped = criterion.lengths.get(index)
        lengths = [length for length in (end, stopped) if length is not None]
        ids.append(row[: min(lengths)] if lengths else row)
        ended.append(bool(lengths))
    texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
    return Completions(ids, [stop.cut(text) for text in texts], ended)
