"""Exact shared-prefix GRPO: TRL's losses, over a log-prob pass that computes each token once.

TRL asks one private method for log-probabilities, `_get_per_token_logps_and_entropies`: for the
policy, for old and for reference log-probabilities, whatever the loss. It is answered here from
packed tries; everything TRL does with the answer stays TRL's.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from rlvr.errors import UserError
from rlvr.prefix import attention
from rlvr.prefix.kinds import Attentions, kinds
from rlvr.prefix.probe import drawing, unshareable
from rlvr.prefix.support import base_model, unsupported
from rlvr.prefix.trie import TokenRow, rows_of
from rlvr.training.shared_prefix import across_ranks, attention_choice, selfcheck
from rlvr.training.shared_prefix.attention_choice import AttentionChoice
from rlvr.training.shared_prefix.choice import Choice
from rlvr.training.shared_prefix.grouping import keep_groups_together, regroupable
from rlvr.training.shared_prefix.scoring import PackedScorer
from rlvr.training.shared_prefix.skipping import Scores, Trained, skippable, trained_rows
from rlvr.training.shared_prefix.timing import Phases, clock
from rlvr.training.trl_private import not_reentrant, recomputed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sharing:
    """The `trainer.*` switches of the update."""

    shared_prefix: str = "auto"  # auto, tree, varlen, flex, dense or off
    skip_zero_advantage: bool = True
    self_check: bool = True
    token_budget: int | None = None  # distinct tokens in one packed row; None is no limit
    records: tuple[Path, ...] = ()  # where `auto` writes what it has chosen, and looks for it
    attention_records: tuple[Path, ...] = ()  # the same for one of several attentions


class SharedPrefixGRPOTrainer(GRPOTrainer):
    """TRL's GRPOTrainer; with `shared_prefix=off` and nothing skipped, to the last bit."""

    _buffered_inputs: Any

    def __init__(self, *args: Any, sharing: Sharing, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sharing = sharing
        self.phases = Phases()
        self._micro_batch = 0  # of the optimizer step under way
        self._trained: Trained | None = None
        self._stock_seconds: float | None = None  # a row of this step
        self.can_share = sharing.shared_prefix != "off" and self._can_share()
        self._unverified = self.can_share and sharing.self_check
        if self.can_share:
            of_device = kinds(sharing.shared_prefix, self.accelerator.device)
            self.attention = AttentionChoice(Attentions(of_device), sharing.attention_records)
            self.attention.take(across_ranks.same(self.attention.made))
            self.scorer = PackedScorer(
                self.accelerator,
                self.attention.attentions,
                sharing.token_budget,
                self._entropy_bonus_enabled,
            )
            self.choice = Choice(sharing.records if sharing.shared_prefix == "auto" else ())
            self.choice.made = across_ranks.same(self.choice.made)
            if self.ref_model is not None:
                attention.install(base_model(self.accelerator.unwrap_model(self.ref_model)))

    def _can_share(self) -> bool:
        """False, with a warning, where sharing is not exact; an error if asked for by name."""
        model = self.accelerator.unwrap_model(self.model)
        reasons = unsupported(self) or unshareable(model) or drawing(model)
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

    @property
    def shares(self) -> bool:
        """Whether the update of the optimizer step under way is shared."""
        return self.can_share and self.choice.shares(self.state.global_step)

    @property
    def _once(self) -> bool:
        """Whether several packs of this optimizer step may have one prefix."""
        several = self.current_gradient_accumulation_steps > 1 or self.sharing.token_budget
        return bool(self.shares and several)

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """Also brings the rows of one prompt, which TRL scatters, into one micro-batch again."""
        before = self._buffered_inputs
        with self.phases.waiting(self.model.training):
            inputs: dict[str, Any] = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before or not self.shares or not regroupable(self):
            return inputs
        accumulation = self.args.gradient_accumulation_steps
        self._buffered_inputs = keep_groups_together(self._buffered_inputs, accumulation)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]  # type: ignore[no-any-return]

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any) -> Tensor:
        """One micro-batch; the last of an optimizer step also takes the prefix backward."""
        once, ends = self._once, self.accelerator.sync_gradients
        with self.phases.updating():
            with self._not_reduced(model) if once else nullcontext():
                loss: Tensor = super().training_step(model, inputs, num_items_in_batch)
            self._micro_batch += 1
            if once and ends:
                if self.scorer.prefix:
                    self.scorer.prefix.backward()
                across_ranks.average_gradients(model)
        if ends:
            self._end_step()
        return loss

    def _not_reduced(self, model: Any) -> AbstractContextManager[None]:
        """DDP reduces in a backward pass, but the prefix's gradient is still to come."""
        several = self.accelerator.num_processes > 1
        return self.accelerator.no_sync(model) if several else nullcontext()  # type: ignore[no-any-return]

    def _end_step(self) -> None:
        metrics, phases = self._metrics["train"], self.phases
        metrics["perf/seconds_rollout"].append(phases.waited)
        metrics["perf/seconds_update"].append(phases.updated)
        metrics["perf/trained_tokens_per_second"].append(phases.tokens / phases.updated)
        if self.can_share:
            if self.scorer.forwarded:
                metrics["perf/packing_ratio"].append(phases.padded / self.scorer.forwarded)
            self._compare_seconds()
            self._agree_on_failures()
            self.scorer.prefix, self.scorer.forwarded = None, 0
        self.phases, self._micro_batch = Phases(), 0

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """Also says which rows have a gradient, for the log-prob pass within."""
        if not self.model.training or not torch.is_grad_enabled():
            return super()._compute_loss(model, inputs)  # type: ignore[no-any-return]
        trained = trained_rows(inputs)
        if self.sharing.skip_zero_advantage and skippable(self):
            self._trained = trained
            share = len(trained.rows) / len(inputs["advantages"])
            self._metrics["train"]["perf/trained_rows"].append(share)
        self._count(inputs)
        if self.shares and self._undecided:
            rows = selfcheck.trained(inputs, trained.rows) if len(trained.rows) else None
            with self.phases.checking():
                self._choose_attention(rows)
                if rows is not None:
                    self._compare_with_stock(rows)
        if self._once and self.scorer.prefix is None:
            self.scorer.prefix = self.scorer.begin(model, self._rows_of_the_step())
        try:
            return super()._compute_loss(model, inputs)  # type: ignore[no-any-return]
        finally:
            self._trained = None

    def _count(self, inputs: dict[str, Any]) -> None:
        self.phases.tokens += int(inputs["prompt_mask"].sum() + inputs["completion_mask"].sum())
        rows = len(inputs["advantages"]) if self._trained is None else len(self._trained.rows)
        self.phases.rows += rows
        self.phases.padded += rows * (
            inputs["prompt_mask"].shape[1] + inputs["completion_mask"].shape[1]
        )

    def _rows_of_the_step(self) -> list[TokenRow]:
        """All that this optimizer step has yet to train, as far as it is sampled."""
        start = self._step % self.args.steps_per_generation
        left = self.current_gradient_accumulation_steps - self._micro_batch
        rows = []
        for inputs in self._buffered_inputs[start : start + left]:
            ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
            mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
            if self._trained is not None:
                kept = trained_rows(inputs).rows
                ids, mask = ids[kept], mask[kept]
            rows += rows_of(ids, mask, inputs["completion_ids"].shape[1])
        return rows

    @property
    def _undecided(self) -> bool:
        """Whether something is still to be compared with the plain path, or timed."""
        return self._unverified or self.attention.open or self._times_stock

    @property
    def _times_stock(self) -> bool:
        return self.sharing.shared_prefix == "auto" and self.choice.made is None

    def _choose_attention(self, rows: selfcheck.Rows | None) -> None:
        """Where the device has several; every rank takes part, until one of them has had rows."""
        if not self.attention.open:
            return
        trials: dict[str, attention_choice.Trial] = {}
        if rows is not None:
            bare = self.accelerator.unwrap_model(self.model)
            if self._unverified:
                plain = super()._get_per_token_logps_and_entropies
                with recomputed(bare, self.args):
                    reference = selfcheck.Reference(plain, bare, rows)
                    trials = attention_choice.compared(self.scorer, reference, self._once)
                self._unverified = False
            with not_reentrant(bare, self.args):
                attention_choice.timed(self.scorer, bare, rows, trials)
        self.attention.settle(across_ranks.of_each(trials or None))
        if not self.attention.open and self.accelerator.is_main_process:
            self.attention.write()

    def _agree_on_failures(self) -> None:
        """An attention that has failed on one rank is left out on all of them."""
        failed = self.attention.attentions.failed
        if self.attention.made is None:
            return
        for of_rank in across_ranks.of_each(failed):
            failed = {**of_rank, **failed}
        if self.attention.note_failures(failed) and self.accelerator.is_main_process:
            self.attention.write()

    def _compare_with_stock(self, rows: selfcheck.Rows) -> None:
        """The first trained micro-batch is computed both ways; of each step until `auto` has
        chosen, some rows are timed as stock: so many that they have the tokens that are scored."""
        timed = self._times_stock
        if not (self._unverified or (timed and self._micro_batch == 0)):
            return
        plain = super()._get_per_token_logps_and_entropies
        bare = self.accelerator.unwrap_model(self.model)
        if self._unverified:
            self._unverified = False
            with recomputed(bare, self.args):
                selfcheck.verify(plain, self.scorer, bare, rows, self._once)
        if timed and self._micro_batch == 0:
            # As many tokens as ours scores: stock scores them all, and must not need more memory.
            scored = int(rows.mask[:, -rows.width :].sum())
            some = rows.take(range(max(1, scored // rows.ids.shape[1])))
            parameters = [p for p in bare.parameters() if p.requires_grad]
            with not_reentrant(bare, self.args):
                start = clock()
                logps = plain(bare, some.ids, some.mask, some.width, compute_entropy=True)[0]
                selfcheck.gradient((logps * some.weights).sum(), parameters)
                self._stock_seconds = (clock() - start) / len(some)

    def _compare_seconds(self) -> None:
        """Adds the step's times to the choice, or makes it; every rank takes part."""
        stock, self._stock_seconds = self._stock_seconds, None
        if self.sharing.shared_prefix != "auto" or self.choice.made is not None:
            return
        shared = self.phases.updated / max(1, self.phases.rows)
        mean = across_ranks.mean(
            None if stock is None else (stock, shared), self.accelerator.device
        )
        if mean is None:
            return
        self._metrics["train"]["perf/seconds_update_stock"].append(mean[0] * self.phases.rows)
        self.choice.add(*mean, self.state.global_step + 1)
        if self.choice.made is not None and self.accelerator.is_main_process:
            self.choice.write()

    def _generate(self, prompts: list[Any]) -> Sequence[Any]:
        start = clock()
        output: Sequence[Any] = super()._generate(prompts)
        seconds, completions = clock() - start, output[1]
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["perf/seconds_generate"].append(seconds)
        metrics["perf/generated_tokens_per_second"].append(sum(map(len, completions)) / seconds)
        return output

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
        score: Callable[..., Scores]
        if self.shares:
            score = partial(self._shared, model, batch_size, compute_entropy)
        else:
            plain = super()._get_per_token_logps_and_entropies
            options = {"batch_size": batch_size, "compute_entropy": compute_entropy}
            score = partial(plain, model, **options, **rest)
        if self._trained is None:
            return score(input_ids, attention_mask, logits_to_keep)
        return self._trained.score(score, input_ids, attention_mask, logits_to_keep)

    def _shared(
        self,
        model: Any,
        batch_size: int | None,
        compute_entropy: bool,
        ids: Tensor,
        mask: Tensor,
        width: int,
    ) -> Scores:
        logps, entropies = self.scorer.score(model, ids, mask, width, batch_size)
        return logps, entropies if compute_entropy else None, None
