"""The engine that computes every prompt token once, for models whose attention can be shared.

All prompts go through the model as one packed trie. Decoding reads the keys of the common prefix
and of each question where they are, without copies, and rows that end leave the batch.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from rlvr.prefix.agreement import Values, compare, of_log_probs, require
from rlvr.prefix.attention import NO_MASK, choose, install
from rlvr.prefix.precision import in_float32
from rlvr.prefix.probe import unshareable
from rlvr.prefix.support import base_model, unsupported_model
from rlvr.prefix.trie import TokenRow, pack
from rlvr.sampling.cascade import Cascade, Prompts, Recorded
from rlvr.sampling.engine import (
    Completions,
    Draw,
    Engine,
    OnFinished,
    Rows,
    Sampling,
    eos_token_ids,
    processors,
)
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.stop import StopRule

log = logging.getLogger(__name__)

WATCHED = 16  # tokens of a completion that the first batch is compared on


def choose_engine(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prefix_cache: bool,
    self_check: bool = True,
) -> Engine:
    """The shared engine if `trainer.prefix_cache` asks for it and the model allows it."""
    if not prefix_cache:
        return PlainEngine(tokenizer)
    reasons = unsupported_model(model) or unshareable(model)
    if reasons:
        log.warning("trainer.prefix_cache is off: not exact with %s", ", ".join(reasons))
        return PlainEngine(tokenizer)
    return SharedEngine(tokenizer, self_check)


class SharedEngine:
    name = "shared"

    def __init__(self, tokenizer: PreTrainedTokenizerBase, self_check: bool = True) -> None:
        self.tokenizer = tokenizer
        self.unverified = self_check  # until the first batch is compared with the plain path

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
        core = base_model(model)
        install(core)
        distinct = list(dict.fromkeys(map(tuple, prompts)))
        place = {prompt: number for number, prompt in enumerate(distinct)}
        groups = torch.tensor([place[tuple(prompt)] for prompt in prompts]).to(core.device)
        logits, cache = prefill(core, distinct)
        eos = eos_token_ids(core, self.tokenizer)
        rows = Rows(self.tokenizer, prompts, stop, eos, on_finished)
        chain = processors(sampling, self.tokenizer)
        decoding = _Decoding(core, chain, Draw(sampling, seeds), rows, prompts)
        decoding.run(logits[groups], Cascade(cache, groups), sampling.max_new_tokens)
        if self.unverified:
            self.unverified = False
            some = sorted({0, min(1, len(prompts) - 1), len(prompts) - 1})
            _verify(core, [prompts[i] for i in some], [rows.ids[i] for i in some])
        return rows.finished()


def _verify(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
) -> None:
    """Raise UserError unless the logits of these rows are those of the plain path.

    In float32, where a fault cannot hide behind the rounding of 16 bits. Row by row the tokens are
    known by now, so all rows go on to the end of the shortest.
    """
    n = min(WATCHED, *map(len, completions))

    def plain() -> Values:
        rows = zip(prompts, completions, strict=True)
        whole = ([[*prompt, *ids[: n - 1]]] for prompt, ids in rows)
        parts = (
            model(torch.tensor(ids, device=model.device), use_cache=False, logits_to_keep=n).logits
            for ids in whole
        )
        return (torch.cat(list(parts)).log_softmax(-1),)  # (rows, n, V)

    with in_float32(model):
        (stock,), (other,) = compare(plain, model)
        ours = torch.stack(_replayed(model, prompts, completions, n), dim=1).log_softmax(-1)
    difference = of_log_probs(ours, stock, other)
    require("sampled log-probabilities", "trainer.prefix_cache=false", difference)


def _replayed(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    n: int,
) -> list[Tensor]:
    """The logits (rows, V) before each of n tokens."""
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    places = [distinct.index(tuple(prompt)) for prompt in prompts]
    groups = torch.tensor(places, device=model.device)
    logits, cache = prefill(model, distinct)
    seen, cascade = [logits[groups]], Cascade(cache, groups)
    length = torch.tensor([[len(prompt)] for prompt in prompts], device=model.device)
    for step in range(n - 1):
        tokens = torch.tensor([[ids[step]] for ids in completions], device=model.device)
        inputs = _inputs(tokens, length + step)
        seen.append(model(**inputs, shared_prefix=cascade).logits[:, -1])
    return seen


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


def _row(index: int, prompt: Sequence[int]) -> TokenRow:
    """A prompt of which every position is asked for, whatever follows it."""
    tokens = np.array(prompt)
    return TokenRow(index, tokens, np.zeros_like(tokens), np.arange(len(tokens)))


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


class _Decoding:
    """Tokens one by one; `live` (b,) are the rows that have not ended."""

    def __init__(
        self,
        model: PreTrainedModel,
        chain: LogitsProcessorList,
        draw: Draw,
        rows: Rows,
        prompts: Sequence[Sequence[int]],
    ) -> None:
        self.model, self.chain, self.draw, self.rows = model, chain, draw, rows
        self.live = torch.arange(len(prompts), device=model.device)
        # For the repetition penalty, which must not see padding: a token of the row's own is none.
        width = max(map(len, prompts))
        padded = [[prompt[0]] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        self.history = torch.tensor(padded, device=model.device)  # (b, t)
        self.length = torch.tensor([len(p) for p in prompts], device=model.device)  # (b,)

    def run(self, logits: Tensor, cascade: Cascade, max_new_tokens: int) -> None:
        """From the logits (b, V) that follow the prompts."""
        for step in range(max_new_tokens):
            tokens = self.draw(self.chain(self.history, logits.float()), self.live, step)
            drawn = zip(self.live.tolist(), tokens.tolist(), strict=True)
            going = [place for place, pair in enumerate(drawn) if not self.rows.add(*pair)]
            if not going or step + 1 == max_new_tokens:
                return
            if len(going) < len(tokens):
                tokens = self._keep(torch.tensor(going, device=tokens.device), tokens, cascade)
            self.history = torch.cat([self.history, tokens[:, None]], dim=1)
            logits = self.model(
                **_inputs(tokens[:, None], (self.length + step)[:, None]), shared_prefix=cascade
            ).logits[:, -1]

    def _keep(self, at: Tensor, tokens: Tensor, cascade: Cascade) -> Tensor:
        """Drop the rows that have ended."""
        cascade.keep(at)
        self.live, self.history, self.length = self.live[at], self.history[at], self.length[at]
        return tokens[at]
