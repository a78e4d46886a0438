"""Exact shared-prefix GRPO: TRL's losses, over a log-prob pass that computes each token once.

TRL asks one private method for log-probabilities, `_get_per_token_logps_and_entropies`: for the
policy, for old and for reference log-probabilities, whatever the loss. It is answered here from
packed tries; everything TRL does with the answer stays TRL's.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import trl.trainer.utils as trl_utils
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from trl.models.utils import disable_gradient_checkpointing

from rlvr.errors import UserError
from rlvr.prefix import attention
from rlvr.prefix.support import base_model, unsupported
from rlvr.prefix.trie import EMPTY, Packed, pack, rows_of, split, tensors
from rlvr.training.shared_prefix import selfcheck
from rlvr.training.shared_prefix.grouping import keep_groups_together
from rlvr.training.shared_prefix.skipping import Scores, Trained, skippable, trained_rows
from rlvr.training.shared_prefix.timing import TimedGRPOTrainer

log = logging.getLogger(__name__)

Scored = tuple[Tensor, Tensor | None]  # log-probabilities and entropies of one pack, both (N,)


@dataclass(frozen=True)
class Sharing:
    """The `trainer.*` switches of the update."""

    shared_prefix: str = "auto"  # auto, dense, tree or off
    skip_zero_advantage: bool = True
    self_check: bool = True
    token_budget: int | None = None  # distinct tokens in one packed row; None is no limit


class SharedPrefixGRPOTrainer(TimedGRPOTrainer):
    """TRL's GRPOTrainer; with `shared_prefix=off` and nothing skipped, to the last bit."""

    _buffered_inputs: Any

    def __init__(self, *args: Any, sharing: Sharing, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sharing = sharing
        self.shares = sharing.shared_prefix != "off" and self._can_share()
        self._unverified = sharing.self_check
        self._trained: Trained | None = None
        if self.shares:
            self._attention = attention.choose(sharing.shared_prefix, self.accelerator.device)
            for model in filter(None, (self.model, self.ref_model)):
                attention.install(base_model(self.accelerator.unwrap_model(model)))

    def _can_share(self) -> bool:
        """False, with a warning, where sharing is not exact; an error if asked for by name."""
        reasons = unsupported(self)
        if not reasons:
            return True
        problem = f"sharing prefixes is not exact with {', '.join(reasons)}"
        if self.sharing.shared_prefix != "auto":
            raise UserError(
                f"trainer.shared_prefix={self.sharing.shared_prefix}: {problem}; "
                "set trainer.shared_prefix=auto or off"
            )
        log.warning("trainer.shared_prefix is off: %s", problem)
        return False

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """Also brings the rows of one prompt, which TRL scatters, into one micro-batch again."""
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if not self.shares or self._buffered_inputs is before:
            return inputs
        self._buffered_inputs = keep_groups_together(self._buffered_inputs)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """Also says which rows have a gradient, for the log-prob pass within."""
        if self.sharing.skip_zero_advantage and self.model.training and skippable(self):
            self._trained = trained_rows(inputs)
            share = len(self._trained.rows) / len(inputs["advantages"])
            self._metrics["train"]["perf/trained_rows"].append(share)
        try:
            return super()._compute_loss(model, inputs)
        finally:
            self._trained = None

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **rest: Any,
    ) -> Scores:
        options: dict[str, Any] = {"batch_size": batch_size, "compute_entropy": compute_entropy}
        plain = super()._get_per_token_logps_and_entropies
        score: Callable[..., Scores] = partial(plain, model, **options, **rest)
        if self.shares:
            score = partial(self._shared, model, **options)
        if self._trained is None:
            return score(input_ids, attention_mask, logits_to_keep)
        return self._trained.score(score, input_ids, attention_mask, logits_to_keep)

    def _shared(
        self,
        model: Any,
        ids: Tensor,  # (B, T)
        mask: Tensor,
        width: int,  # C: the last columns, which are completions
        batch_size: int | None,
        compute_entropy: bool,
    ) -> Scores:
        rows = rows_of(ids, mask, width) or [EMPTY]
        size = batch_size or len(rows)
        chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
        packs = [pack(part) for chunk in chunks for part in split(chunk, self.sharing.token_budget)]
        logps = torch.zeros(len(ids), width, device=ids.device)
        entropies = torch.zeros_like(logps)
        for packed, (logp, entropy) in zip(packs, self._forward_all(model, packs), strict=True):
            where = tuple(torch.from_numpy(x).to(ids.device) for x in (packed.rows, packed.columns))
            sources = torch.from_numpy(packed.sources).to(ids.device)
            logps = logps.index_put(where, logp[sources])
            if entropy is not None:
                entropies = entropies.index_put(where, entropy[sources])
        if torch.is_grad_enabled() and (self._trained is None or len(self._trained.rows)):
            self._observe(model, ids, mask, logps, sum(map(len, packs)))
        return logps, entropies if compute_entropy else None, None

    def _forward_all(self, model: Any, packs: list[Packed]) -> Iterator[Scored]:
        """Log-probabilities and entropies of each pack, both (N,).

        Activations of at most one pack are held: all but the last are recomputed in the backward
        pass, which begins with the last. Only the last goes through a distributed wrapper, which
        must see exactly one forward, on every rank, before a backward.
        """
        bare = self.accelerator.unwrap_model(model) if len(packs) > 1 else model
        for packed in packs[:-1]:
            forward = partial(self._forward, bare, packed)
            if torch.is_grad_enabled():
                yield checkpoint(forward, use_reentrant=False, preserve_rng_state=False)
            else:
                yield forward()
        yield self._forward(model, packs[-1])

    def _forward(self, model: Any, packed: Packed) -> Scored:
        device = self.accelerator.device
        with self.accelerator.autocast(), _scoring_labels_only():
            output = model(
                **tensors(packed, device),
                attention_mask=attention.NO_MASK.to(device),
                shared_prefix=self._attention(packed, device),
                fused_lm_head=True,
            )
        # TRL gives the reference model's head no entropy.
        return output.log_probs[0], None if output.entropy is None else output.entropy[0]

    def _observe(
        self, model: Any, ids: Tensor, mask: Tensor, logps: Tensor, forwarded: int
    ) -> None:
        self._metrics["train"]["perf/packing_ratio"].append(ids.numel() / forwarded)
        if not self._unverified:
            return
        self._unverified = False
        plain = super()._get_per_token_logps_and_entropies
        bare = self.accelerator.unwrap_model(model)
        with disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs):
            exact = self.accelerator.mixed_precision == "no" and selfcheck.float32(bare)
            selfcheck.verify(plain, bare, ids, mask, logps, exact)


@contextmanager
def _scoring_labels_only() -> Iterator[None]:
    """Without Triton, TRL's head scores every position; here only those with a label."""
    own = trl_utils._use_triton
    trl_utils._use_triton = lambda device: True
    try:
        yield
    finally:
        trl_utils._use_triton = own
