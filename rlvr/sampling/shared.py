"""The engine that computes every prompt token once, for models whose attention can be shared.

All prompts go through the model as one packed trie. On CUDA every row then gets its own copy of the
keys, where there is room, and few kernels do a step (`rlvr.sampling.stepping`). Else decoding reads
the keys of the common prefix and of each question where they are, without copies, and rows that end
leave the batch.
"""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessorList, PreTrainedModel, PreTrainedTokenizerBase

from rlvr.prefix.agreement import Values, compare, of_log_probs, require
from rlvr.prefix.attention import install, no_mask
from rlvr.prefix.precision import in_float32
from rlvr.prefix.probe import unshareable
from rlvr.prefix.support import base_model, unsupported_model
from rlvr.sampling.cascade import Cascade, Prompts
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
from rlvr.sampling.expanded import Expanded, fits
from rlvr.sampling.graph import Recorder
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.prefill import inputs, prefill
from rlvr.sampling.stepping import DecodingSteps
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

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        self_check: bool = True,
        expand: bool | None = None,
    ) -> None:
        """`expand`: every row has its own copy of its prompt's keys; None: on CUDA, if they fit."""
        self.tokenizer, self.expand = tokenizer, expand
        self.unverified = self_check  # until the first batch is compared with the plain path
        self.recorder = Recorder()

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
        new = sampling.max_new_tokens
        logits, attention = _begin(core, prompts, new, self.expand)
        eos = eos_token_ids(core, self.tokenizer)
        rows = Rows(self.tokenizer, prompts, stop, eos, on_finished)
        chain, draw = processors(sampling, self.tokenizer), Draw(sampling, seeds, core.device)
        expanded = isinstance(attention, Expanded)
        if isinstance(attention, Expanded):
            steps = DecodingSteps(core, attention, chain, draw, rows, prompts, self.recorder)
            steps.run(logits, new)
        else:
            _Decoding(core, chain, draw, rows, prompts).run(logits, attention, new)
        if self.unverified:
            self.unverified = False
            some = sorted({0, min(1, len(prompts) - 1), len(prompts) - 1})
            _verify(core, [prompts[i] for i in some], [rows.ids[i] for i in some], expanded)
        return rows.finished()


def _begin(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    expand: bool | None,
) -> tuple[Tensor, Expanded | Cascade]:
    """Logits (b, V) that follow the prompts, and the attention of the steps after them."""
    distinct = list(dict.fromkeys(map(tuple, prompts)))
    number = {prompt: j for j, prompt in enumerate(distinct)}
    groups = [number[tuple(prompt)] for prompt in prompts]
    prefilled = prefill(model, distinct)
    logits = prefilled.logits[torch.tensor(groups, device=model.device)]
    if expand is None:
        expand = model.device.type == "cuda" and fits(prefilled, len(prompts), new_tokens)
    if expand:
        return logits, Expanded(prefilled, groups, new_tokens)
    layers, paths, shared = prefilled.layers, prefilled.paths, prefilled.shared
    return logits, Cascade(Prompts.cut(layers, paths, shared), groups)


def _verify(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    expanded: bool,
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
        replayed = _replayed(model, prompts, [ids[:n] for ids in completions], expanded)
        ours = torch.stack(replayed, dim=1).log_softmax(-1)
    difference = of_log_probs(ours, stock, other)
    require("sampled log-probabilities", "trainer.prefix_cache=false", difference)


def _replayed(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    expanded: bool,
) -> list[Tensor]:
    """The logits (rows, V) before each of n tokens."""
    tokens = torch.tensor(completions, device=model.device)  # (rows, n)
    logits, attention = _begin(model, prompts, tokens.shape[1], expanded)
    length = torch.tensor([[len(prompt)] for prompt in prompts], device=model.device)
    seen, mask = [logits], no_mask(model.device)
    for step in range(tokens.shape[1] - 1):
        given = inputs(tokens[:, step : step + 1], length + step, mask)
        seen.append(model(**given, shared_prefix=attention).logits[:, -1])
    return seen


class _Decoding:
    """Tokens one by one; `live` are the rows that have not ended."""

    def __init__(
        self,
        model: PreTrainedModel,
        chain: LogitsProcessorList,
        draw: Draw,
        rows: Rows,
        prompts: Sequence[Sequence[int]],
    ) -> None:
        self.model, self.chain, self.draw, self.rows = model, chain, draw, rows
        self.live = list(range(len(prompts)))
        self.seats = torch.tensor(self.live, device=model.device)  # (b,) the same, for the draws
        self.no_mask = no_mask(model.device)
        # For the repetition penalty, which must not see padding: a token of the row's own is none.
        width = max(map(len, prompts))
        padded = [[prompt[0]] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        self.history = torch.tensor(padded, device=model.device)  # (b, t)
        self.length = torch.tensor([len(p) for p in prompts], device=model.device)  # (b,)

    def run(self, logits: Tensor, cascade: Cascade, max_new_tokens: int) -> None:
        """From the logits (b, V) that follow the prompts."""
        for step in range(max_new_tokens):
            tokens = self.draw(self.chain(self.history, logits.float()), self.seats, step)
            drawn = zip(self.live, tokens.tolist(), strict=True)
            going = [place for place, pair in enumerate(drawn) if not self.rows.add(*pair)]
            if not going or step + 1 == max_new_tokens:
                return
            if len(going) < len(tokens):
                tokens = self._keep(going, tokens, cascade)
            self.history = torch.cat([self.history, tokens[:, None]], dim=1)
            given = inputs(tokens[:, None], (self.length + step)[:, None], self.no_mask)
            logits = self.model(**given, shared_prefix=cascade).logits[:, -1]

    def _keep(self, going: list[int], tokens: Tensor, cascade: Cascade) -> Tensor:
        """Drop the rows that have ended."""
        cascade.keep(going)
        self.live = [self.live[place] for place in going]
        at = torch.tensor(going, device=tokens.device)
        self.seats, self.history, self.length = self.seats[at], self.history[at], self.length[at]
        return tokens[at]
