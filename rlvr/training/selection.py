"""What a step is trained on: which questions, and with which prompts.

A group whose completions are all paid alike has no advantage and teaches nothing. Dynamic sampling
(DAPO, arXiv 2503.14476) samples other questions in its place; GRESO (arXiv 2506.02177) does not
even ask again what was such a group when it was asked last. PODS (arXiv 2504.13818) trains on those
completions of a question alone that are paid most differently. All draws are made from the seed and
the step, so that what is to be remembered is which questions had no variance.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import islice
from operator import add
from statistics import fmean, pvariance
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rlvr.data.rollout_prompts import RolloutPrompts
from rlvr.errors import UserError
from rlvr.sampling.engine import Completions
from rlvr.verify.verdict import Verdict

if TYPE_CHECKING:
    from rlvr.training.trainer import Trainer

Row = dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """Rows that were sampled and paid before TRL asks for them. `rewards` is (n, rewards)."""

    rows: list[Row]
    completions: Completions
    verdicts: list[Verdict]
    rewards: Tensor
    extra: Mapping[str, Sequence[Any]]  # what rewards log beside completions, by column
    seconds: float = 0.0  # it took to sample these, and those that were left out
    tokens: int = 0

    def take(self, at: Sequence[int]) -> "Drawn":
        c = self.completions
        return Drawn(
            [self.rows[i] for i in at],
            Completions(
                [c.ids[i] for i in at],
                [c.texts[i] for i in at],
                [c.ended[i] for i in at],
                c.log_probs and [c.log_probs[i] for i in at],
            ),
            [self.verdicts[i] for i in at],
            self.rewards[list(at)],
            {column: [values[i] for i in at] for column, values in self.extra.items()},
            self.seconds,
            self.tokens,
        )

    def account(self, metrics: Mapping[str, list[float]]) -> None:
        """TRL, which found the completions ready, took no time to sample them."""
        metrics["perf/seconds_generate"][-1] = self.seconds
        metrics["perf/generated_tokens_per_second"][-1] = self.tokens / self.seconds

    def __add__(self, other: "Drawn") -> "Drawn":
        a, b = self.completions, other.completions
        return Drawn(
            self.rows + other.rows,
            Completions(
                a.ids + b.ids,
                a.texts + b.texts,
                a.ended + b.ended,
                a.log_probs and b.log_probs and a.log_probs + b.log_probs,
            ),
            self.verdicts + other.verdicts,
            torch.cat([self.rewards, other.rewards]),
            {column: [*self.extra[column], *other.extra[column]] for column in self.extra},
            self.seconds + other.seconds,
            self.tokens + other.tokens,
        )


@dataclass
class Selection:
    """`rounds` of other questions are sampled, at most, in place of groups without variance. A
    question that had none the last n times it was asked is asked again with probability
    `revisit`^n. Of each question `downsample_from` completions are sampled where it is given, and
    `trainer.num_generations` of the greatest variance kept. Each of them needs one process."""

    prompts: RolloutPrompts | None = None
    rounds: int = 0
    revisit: float = 1.0
    seed: int = 0
    downsample_from: int | None = None
    flat: dict[str, int] = field(default_factory=dict)  # how often in a row, by question

    @property
    def alone(self) -> bool:
        return self.rounds > 0 or self.revisit < 1 or self.downsample_from is not None

    def refuse_several(self, processes: int) -> None:
        if self.alone and processes > 1:
            raise UserError(
                "trainer.dynamic_sampling, trainer.revisit and trainer.downsample_from choose in "
                f"one process, and this run has {processes}: set trainer.num_processes=1"
            )

    def chosen(self, trainer: "Trainer", rows: Sequence[Row]) -> list[Row]:
        """This process's rows, `trainer.num_generations` of each question, from the sampler's."""
        rows = list(rows)
        others = self._others(trainer, rows) if self.alone else iter(())
        if self.revisit < 1:
            rows = self._without_flat(trainer, rows, others)
        rows = self._prompted(trainer, rows, trainer.accelerator.process_index * len(rows))
        if self.rounds or self.downsample_from is not None:
            trainer.drawn = self._drawn(trainer, rows, others)
            rows = trainer.drawn.rows
        return rows

    def observe(self, trainer: "Trainer", rows: Sequence[Row], rewards: Tensor) -> None:
        """Remember which questions had no variance."""
        if self.revisit < 1:
            varied = varies(trainer, rewards)
            for row, has_variance in zip(rows[:: trainer.num_generations], varied, strict=True):
                asked = row["question"]
                self.flat[asked] = 0 if has_variance else self.flat.get(asked, 0) + 1

    def _prompted(self, trainer: "Trainer", rows: list[Row], first: int) -> list[Row]:
        """With the prompts of the optimizer step to come. `first` is the number of the first row
        among all that are sampled for it, in any process."""
        if self.prompts is None or not self.prompts.moves:
            return rows
        step, steps = trainer.state.global_step, trainer.state.max_steps
        groups = [(first + place) // trainer.num_generations for place in range(len(rows))]
        shots = fmean(self.prompts.shots(step, steps, group) for group in groups)
        trainer._log_metric("shots", shots)
        return [
            {**row, "prompt": self.prompts.trained(row["question"], step, steps, group)}
            for row, group in zip(rows, groups, strict=True)
        ]

    def _others(self, trainer: "Trainer", rows: Sequence[Row]) -> Iterator[Row]:
        """Training questions that are not among `rows`, in a random order of this step, each once;
        without those that are not asked again."""
        taken = {row["question"] for row in rows}
        data, step = trainer.train_dataset, trainer.state.global_step
        order = list(range(len(data)))
        random.Random(f"{self.seed}/others/{step}").shuffle(order)
        for place in order:
            row = data[place]
            if row["question"] not in taken and self._is_asked(row, step):
                taken.add(row["question"])
                yield row

    def _is_asked(self, row: Row, step: int) -> bool:
        chance = random.Random(f"{self.seed}/revisit/{step}/{row['question']}").random()
        return chance < self.revisit ** self.flat.get(row["question"], 0)

    def _without_flat(
        self, trainer: "Trainer", rows: Sequence[Row], others: Iterator[Row]
    ) -> list[Row]:
        """Others in place of questions that are not asked again, as far as there are any."""
        chosen, skipped = [], 0
        for row in rows[:: trainer.num_generations]:
            other = None
            if not self._is_asked(row, trainer.state.global_step):
                other = next(others, None)
            skipped += other is not None
            chosen.append(other or row)
        trainer._log_metric("skipped_questions", skipped)
        return _repeated(chosen, trainer.num_generations)

    def _drawn(self, trainer: "Trainer", rows: list[Row], others: Iterator[Row]) -> Drawn:
        """As many groups as `rows` has, those with variance first; sampled round by round."""
        size = trainer.num_generations
        drawn = self._most_varied(trainer, rows)
        for _ in range(self.rounds):
            lacking = len(rows) // size - sum(varies(trainer, drawn.rewards))
            more = _repeated(list(islice(others, max(0, lacking))), size)
            if not more:
                break
            more = self._prompted(trainer, more, len(drawn.rows))
            drawn += self._most_varied(trainer, more)
        sampled = len(drawn.rows) // size * (self.downsample_from or size)
        trainer._log_metric("extra_rollouts", sampled - len(rows))
        varied = varies(trainer, drawn.rewards)
        best = sorted(range(len(varied)), key=lambda group: not varied[group])[: len(rows) // size]
        chosen = drawn.take([group * size + place for group in best for place in range(size)])
        for column, values in chosen.extra.items():
            trainer._log_completion_extra(column, list(values))
        return chosen

    def _most_varied(self, trainer: "Trainer", rows: list[Row]) -> Drawn:
        """Completions of `rows`; where more are sampled than kept, as many at a time as `rows`
        has, so that they need no more memory."""
        size = trainer.num_generations
        many = self.downsample_from or size
        asked = _repeated(rows[::size], many)
        starts = range(0, len(asked), len(rows))
        drawn = reduce(add, (self._sampled(trainer, asked[i : i + len(rows)]) for i in starts))
        if many > size:
            totals = _totals(trainer, drawn.rewards).view(-1, many).tolist()
            kept = [most_varied(of_question, size) for of_question in totals]
            drawn = drawn.take(
                [n * many + place for n, group in enumerate(kept) for place in group]
            )
        self.observe(trainer, drawn.rows, drawn.rewards)
        return drawn

    def _sampled(self, trainer: "Trainer", rows: list[Row]) -> Drawn:
        start = perf_counter()
        ids = trainer.processing_class(text=[row["prompt"] for row in rows])["input_ids"]
        with trainer.inference() as model:
            completions = trainer.sample(model, ids)
        seconds = perf_counter() - start
        whole, _ = trainer.with_ends(completions)
        verdicts, rewards = trainer.pay(rows, completions.texts, whole)
        extra = {column: [*values] for column, values in trainer._pending_extra_logs.items()}
        trainer._pending_extra_logs.clear()
        tokens = sum(map(len, completions.ids))
        return Drawn(rows, completions, verdicts, rewards, extra, seconds, tokens)


def varies(trainer: "Trainer", rewards: Tensor) -> list[bool]:
    """Of each group, from rewards (n, rewards), whether TRL would give it any advantage."""
    groups = _totals(trainer, rewards).view(-1, trainer.num_generations)
    highest = groups.nan_to_num(nan=float("-inf")).amax(1)
    lowest = groups.nan_to_num(nan=float("inf")).amin(1)
    return (highest - lowest > 1e-8).tolist()  # type: ignore[no-any-return]


def most_varied(rewards: Sequence[float], keep: int) -> list[int]:
    """The places of the `keep` rewards of the greatest variance, in order: for some n these are the
    n lowest and the highest of the others (arXiv 2504.13818). NaN is kept only where there are no
    others."""
    known = sorted(
        (i for i in range(len(rewards)) if rewards[i] == rewards[i]), key=rewards.__getitem__
    )
    unknown = [i for i in range(len(rewards)) if rewards[i] != rewards[i]]
    size = min(keep, len(known))
    ends = [known[:low] + known[len(known) - size + low :] for low in range(size + 1)]
    best = max(ends, key=lambda places: pvariance([rewards[i] for i in places])) if known else []
    return sorted(best + unknown[: keep - size])


def _totals(trainer: "Trainer", rewards: Tensor) -> Tensor:
    """What TRL makes of rewards (n, rewards): their weighted sums (n,), NaN where none is known."""
    weighted = rewards * trainer.reward_weights.to(rewards.device)
    return weighted.nansum(dim=1).masked_fill(rewards.isnan().all(dim=1), float("nan"))


def _repeated(questions: Sequence[Row], times: int) -> list[Row]:
    return [dict(question) for question in questions for _ in range(times)]
