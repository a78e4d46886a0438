"""Sampling that computes every prompt token once: `plain.generate` for shared prefixes.

All prompts go through the model as one packed trie. Decoding reads the keys of the common prefix
and of each question where they are, without copies, and rows that end leave the batch.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from rlvr.prefix.attention import NO_MASK, choose, install
from rlvr.prefix.support import base_model, unsupported_model
from rlvr.prefix.trie import Row, pack
from rlvr.sampling.cascade import Cascade, Prompts, Recorded
from rlvr.sampling.plain import Completions, Sampling, _ending_tokens, eos_token_ids, generate
from rlvr.sampling.stop import StopRule

log = logging.getLogger(__name__)


def sampler(model: PreTrainedModel, prefix_cache: bool) -> Callable[..., Completions]:
    """`generate_shared` if `trainer.prefix_cache` asks for it and the model allows it."""
    reasons = unsupported_model(model) if prefix_cache else []
    if reasons:
        log.warning("trainer.prefix_cache is off: not exact with %s", ", ".join(reasons))
    return generate_shared if prefix_cache and not reasons else generate


@torch.no_grad()
def generate_shared(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    stop: StopRule,
) -> Completions:
    """One completion for each of the prompts (token ids, B ragged rows), in order."""
    core = base_model(model)
    install(core)
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    groups = torch.tensor([distinct.index(tuple(prompt)) for prompt in prompts]).to(core.device)
    logits, cache = prefill(core, distinct)
    decoding = _Decoding(core, tokenizer, prompts, sampling, stop)
    decoding.run(logits[groups], Cascade(cache, groups))
    texts = tokenizer.batch_decode(decoding.ids, skip_special_tokens=True)
    return Completions(decoding.ids, [stop.cut(text) for text in texts], decoding.ended)


def prefill(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Prompts]:
    """Next-token logits (J, V) of J distinct prompts, and what decoding attends to."""
    device = model.device
    packed = pack([_row(j, prompt) for j, prompt in enumerate(prompts)])
    paths = [torch.from_numpy(packed.sources[packed.rows == j]) for j in range(len(prompts))]
    kind = choose("auto" if device.type == "cpu" else "dense", device)
    attention = Recorded(kind(packed, device))
    ids, positions = (
        torch.from_numpy(x)[None].to(device) for x in (packed.input_ids, packed.position_ids)
    )
    logits = model(
        **_inputs(ids, positions),
        shared_prefix=attention,
        logits_to_keep=torch.tensor([int(path[-1]) for path in paths], device=device),
    ).logits[0]
    return logits, Prompts.cut(attention.layers, paths, _common(prompts))


def _row(index: int, prompt: Sequence[int]) -> Row:
    """A prompt of which every position is asked for, whatever follows it."""
    tokens = np.array(prompt)
    return Row(index, tokens, np.zeros_like(tokens), np.arange(len(tokens)))


def _common(prompts: Sequence[Sequence[int]]) -> int:
    """Length of the common prefix; of several prompts, each keeps a token of its own."""
    if len(prompts) == 1:
        return len(prompts[0])
    shortest = min(map(len, prompts)) - 1
    columns = zip(*prompts, strict=False)
    differing = (i for i, column in enumerate(columns) if len(set(column)) > 1)
    return min(next(differing, shortest), shortest)


def _inputs(ids: Tensor, positions: Tensor) -> dict[str, Any]:
    """Both (b, n). Keys and values are kept by the attention, not by transformers' cache."""
    mask = NO_MASK.to(ids.device)
    return {
        "input_ids": ids,
        "position_ids": positions,
        "attention_mask": mask,
        "use_cache": False,
    }


def processors(sampling: Sampling) -> LogitsProcessorList:
    """What `generate` makes of these settings, in its order."""
    chain = LogitsProcessorList()
    if sampling.repetition_penalty != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature == 0:
        return chain
    if sampling.temperature != 1.0:
        chain.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k != 0:
        chain.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        chain.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0.0:
        chain.append(MinPLogitsWarper(sampling.min_p))
    return chain


class _Decoding:
    """Rows sampled token by token; `live` are the indices of those that have not ended."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        stop: StopRule,
    ) -> None:
        self.model, self.tokenizer, self.sampling, self.stop = model, tokenizer, sampling, stop
        self.process = processors(sampling)
        self.eos = set(eos_token_ids(model, tokenizer))
        self.may_stop = _ending_tokens(tokenizer, stop.last_characters)
        self.ids: list[list[int]] = [[] for _ in prompts]
        self.ended = [False] * len(prompts)
        self.live = list(range(len(prompts)))
        # For the repetition penalty, which must not see padding: a token of the row's own is none.
        width = max(map(len, prompts))
        padded = [[prompt[0]] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        self.history = torch.tensor(padded, device=model.device)  # (b, t)
        self.length = torch.tensor([len(p) for p in prompts], device=model.device)  # (b,)

    def run(self, logits: Tensor, cascade: Cascade) -> None:
        """From the logits (b, V) that follow the prompts."""
        for step in range(self.sampling.max_new_tokens):
            tokens = self._draw(logits)
            kept = self._advance(tokens.tolist())
            if not kept or step + 1 == self.sampling.max_new_tokens:
                return
            if len(kept) < len(tokens):
                at = torch.tensor(kept, device=tokens.device)
                tokens, self.history, self.length = tokens[at], self.history[at], self.length[at]
                cascade.keep(at)
            self.history = torch.cat([self.history, tokens[:, None]], dim=1)
            logits = self.model(
                **_inputs(tokens[:, None], (self.length + step)[:, None]), shared_prefix=cascade
            ).logits[:, -1]

    def _draw(self, logits: Tensor) -> Tensor:
        """Next tokens (b,), distributed as `generate`'s."""
        scores = self.process(self.history, logits.float())
        if self.sampling.temperature == 0:
            return scores.argmax(-1)
        # torch.multinomial draws a random number for each token of the vocabulary; this, one a row.
        reached = scores.softmax(-1).double().cumsum(-1)
        drawn = torch.rand_like(reached[:, :1]) * reached[:, -1:]
        tokens = torch.searchsorted(reached, drawn, right=True)[:, 0]
        return tokens.clamp(max=scores.shape[1] - 1)

    def _advance(self, tokens: list[int]) -> list[int]:
        """Add one token to each live row; the places, among them, of those that go on."""
        kept = []
        for place, (row, token) in enumerate(zip(self.live, tokens, strict=True)):
            self.ids[row].append(token)
            self.ended[row] = token in self.eos or self._stops(row, token)
            if not self.ended[row]:
                kept.append(place)
        self.live = [self.live[place] for place in kept]
        return kept

    def _stops(self, row: int, token: int) -> bool:
        if not self.may_stop[token]:
            return False
        text = self.tokenizer.decode(self.ids[row], skip_special_tokens=True)
        return self.stop.find(text) is not None
