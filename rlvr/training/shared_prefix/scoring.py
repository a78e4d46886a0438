"""Log-probabilities from packed tries: each distinct token goes through the model once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from rlvr.prefix.attention import AttentionKind, no_mask
from rlvr.prefix.trie import EMPTY, Packed, TokenRow, on_device, pack, rows_of, split, tensors
from rlvr.training.shared_prefix.step_prefix import (
    SHORTEST,
    StepPrefix,
    common_prefix,
    leading,
    without,
)
from rlvr.training.trl_private import scoring_labels_only, scoring_once

Scored = tuple[Tensor, Tensor | None]  # log-probabilities and entropies of one pack, both (N,)


class PackedScorer:
    """What answers TRL when it asks for log-probabilities; `prefix` is that of the step."""

    def __init__(
        self,
        accelerator: Accelerator,
        kind: AttentionKind,
        token_budget: int | None,
        entropy_trained: bool = False,
    ) -> None:
        self.accelerator, self.kind, self.token_budget = accelerator, kind, token_budget
        self.scoring = scoring_labels_only if entropy_trained else scoring_once
        self.autocast: Callable[[], AbstractContextManager[Any]] = accelerator.autocast
        self.prefix: StepPrefix | None = None
        self.forwarded = 0  # tokens, with a gradient, since this was last set to 0

    def begin(self, model: Any, rows: Sequence[TokenRow], train: bool = True) -> StepPrefix | None:
        """The common prefix of rows through the model; None where it is not worth a pass."""
        tokens = common_prefix(rows)
        if len(tokens) < SHORTEST:
            return None
        self.forwarded += len(tokens) * train
        bare = self.accelerator.unwrap_model(model)
        return StepPrefix(tokens, bare, self.kind, self.autocast(), train)

    def score(
        self,
        model: Any,
        ids: Tensor,  # (B, T)
        mask: Tensor,
        width: int,  # C: the last columns, which are completions
        batch_size: int | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probabilities and entropies, both (B, C); TRL gives a reference model none."""
        rows = rows_of(ids, mask, width) or [EMPTY]
        size = batch_size or len(rows)
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        packs = [pack(part) for chunk in chunks for part in split(chunk, self.token_budget)]
        forward = self._forward_all if torch.is_grad_enabled() else partial(self._read_all, rows)
        logps = torch.zeros(len(ids), width, device=ids.device)
        entropies: Tensor | None = torch.zeros_like(logps)
        for packed, (logp, entropy) in zip(packs, forward(model, packs), strict=True):
            places = (packed.rows, packed.columns, packed.sources)
            *where, sources = (on_device(x, ids.device) for x in places)
            logps = logps.index_put(tuple(where), logp[sources])
            if entropies is not None:
                known = None if entropy is None else entropy[sources]
                entropies = None if known is None else entropies.index_put(tuple(where), known)
        return logps, entropies

    def _read_all(
        self, rows: Sequence[TokenRow], model: Any, packs: list[Packed]
    ) -> Iterator[Scored]:
        """Without a gradient: one prefix for all packs of the call, and not the step's own, whose
        model may be another one or have other weights."""
        live, self.prefix = self.prefix, None
        try:
            if len(packs) > 1:
                self.prefix = self.begin(model, rows, train=False)
            for packed in packs:
                yield self._forward(model, packed)
        finally:
            self.prefix = live

    def _forward_all(self, model: Any, packs: list[Packed]) -> Iterator[Scored]:
        """Activations of at most one pack are held: all but the last are recomputed in the
        backward pass, which begins with the last. Only the last goes through a distributed
        wrapper, which must see exactly one forward, on every rank, before a backward.
        """
        self.forwarded += sum(len(packed) - self._known(packed) for packed in packs)
        bare = self.accelerator.unwrap_model(model) if len(packs) > 1 else model
        for packed in packs[:-1]:
            forward = partial(self._forward, bare, packed, forget=True)
            yield checkpoint(forward, use_reentrant=False, preserve_rng_state=False)
        yield self._forward(model, packs[-1])

    def _known(self, packed: Packed) -> int:
        """How many of a pack's first tokens the prefix has."""
        return leading(packed, self.prefix.tokens) if self.prefix else 0

    def _forward(self, model: Any, packed: Packed, forget: bool = False) -> Scored:
        device, n = self.accelerator.device, self._known(packed)
        own = without(packed, n)
        kept = self.kind(own, device, n)
        attention = self.prefix.above(n, kept) if self.prefix and n else kept
        with self.autocast(), self.scoring():
            output = model(
                **tensors(own, device),
                attention_mask=no_mask(device),
                shared_prefix=attention,
                fused_lm_head=True,
            )
        if forget:
            kept.forget()
        # Nothing of the prefix is scored: zeros, so that a pack's positions stay what they are.
        logps, entropy = pad(output.log_probs[0], (n, 0)), output.entropy
        return logps, None if entropy is None else pad(entropy[0], (n, 0))
