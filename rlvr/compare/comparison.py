"""Runs side by side: what differs between them, which is best, and which may be as good."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rlvr import manifest
from rlvr.compare import differences, seeds
from rlvr.compare.differences import Difference
from rlvr.compare.names import model_name
from rlvr.compare.recipes import SEED, Recipe, ranked, recipes_of
from rlvr.compare.runs import RunRow, read_job, read_run
from rlvr.dotted_keys import is_of_the_run
from rlvr.evaluation.statistics import LEVEL, holm

READ = 100  # runs whose answers to each question are read, those of the best recipes


@dataclass(frozen=True)
class Rival:
    """The best recipe less another one. `p_value` is Holm's, over all pairs of recipes."""

    recipe: Recipe
    difference: Difference
    p_value: float

    @property
    def told_apart(self) -> bool:
        return self.p_value < LEVEL


@dataclass
class Comparison:
    """Runs side by side. `directory` is where the comparison is written."""

    directory: Path
    name: str
    rows: list[RunRow]
    tracking: manifest.Tracking = field(default_factory=manifest.Tracking)
    benchmark: str | None = None  # what the scores are of, where not of the runs' own data

    @cached_property
    def recipes(self) -> list[Recipe]:
        """The runs in groups that differ in their seed alone, in the order of their first runs."""
        return recipes_of(self.rows, READ)

    @cached_property
    def best(self) -> Recipe | None:
        """The recipe with the highest score, the first of those."""
        return next(iter(ranked(self.recipes)), None)

    @cached_property
    def rivals(self) -> list[Rival]:
        """What the best recipe was compared with, the next best first.

        The best is chosen by looking at all of them, so the family of tests is every pair.
        """
        trained = [recipe for recipe in ranked(self.recipes) if recipe.trained]
        found = []
        for recipe in trained[1:]:
            if (difference := _difference(trained[0], recipe)) is not None:
                found.append((recipe, difference))
        p_values = [difference.p_value for _, difference in found]
        adjusted = _holm(p_values, len(trained) * (len(trained) - 1) // 2)
        return [Rival(*pair, p) for pair, p in zip(found, adjusted, strict=True)]

    @property
    def detectable(self) -> float | None:
        """The smallest true difference between the best and the next that would likely show."""
        best, following = self.best, self.rivals[0].recipe
        assert best
        if best.estimates:
            sides = (recipe.estimates["trained"] for recipe in (best, following))
            return seeds.detectable(seeds.difference(*sides))
        return differences.detectable(best.answers[0], following.answers[0])

    @cached_property
    def gain_p_values(self) -> dict[int, float]:
        """p of trained against base by the recipe's index, Holm's over the recipes."""
        found = {r.index: r.p_value for r in self.recipes if r.p_value is not None}
        tested = [recipe for recipe in self.recipes if recipe.base and recipe.trained]
        return dict(zip(found, _holm(list(found.values()), len(tested)), strict=True))

    @property
    def keys(self) -> list[str]:
        """The settings that differ."""
        return list(self.rows[0].varied) if self.rows else []

    @property
    def origins(self) -> list[Path]:
        """The sweeps, and the runs that were named themselves."""
        return list(dict.fromkeys(row.origin for row in self.rows))

    @property
    def benchmarks(self) -> list[str]:
        """Names of the benchmarks that any run was evaluated on."""
        results = [row.result for row in self.rows if row.result]
        return list(dict.fromkeys(name for result in results for name in result.benchmarks))

    def on(self, benchmark: str) -> "Comparison":
        """The same runs with their scores on a benchmark in place of those on their own data."""
        rows = [row.scored_by("benchmarks", benchmark, benchmark) for row in self.rows]
        return replace(self, rows=rows, benchmark=benchmark)

    def common(self, key: str) -> Any:
        """The setting all runs share, None where they differ or do not say."""
        values = {repr(row.settings.get(key)) for row in self.rows}
        return self.rows[0].settings.get(key) if len(values) == 1 else None

    def title(self) -> str:
        """`Qwen2.5-0.5B on gsm8k (test, n = 1319)`, as far as the runs agree."""
        model = self.common("model.path")
        dataset = self.benchmark or self.common("dataset.name")
        subject = " on ".join(model_name(str(part)) for part in (model, dataset) if part)
        split = None if self.benchmark else self.common("eval.split")
        detail = ", ".join(part for part in (split, self._questions()) if part)
        return f"{subject or self.name} ({detail})" if detail else subject or self.name

    def _questions(self) -> str:
        scores = [score for row in self.rows for score in (row.base, row.trained) if score]
        counts = sorted({int(score["n"]) for score in scores})
        if not counts:
            return ""
        return f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "")


def _holm(p_values: list[float], family: int) -> list[float]:
    """Of a family of which some were not tested: they count as p = 1, and no other is smaller."""
    return holm([*p_values, *[1.0] * (family - len(p_values))])[: len(p_values)]


def _difference(ours: Recipe, theirs: Recipe) -> Difference | None:
    if not ours.answers or not theirs.answers:
        return None
    if not ours.estimates:
        return differences.of_pairs(ours.answers[0], theirs.answers[0])
    sides = (recipe.estimates["trained"] for recipe in (ours, theirs))
    common = set().union(*ours.answers) & set().union(*theirs.answers)
    return differences.of_seeds(seeds.difference(*sides), len(common)) if common else None


def read_sweep(directory: Path) -> Comparison:
    """The jobs of a sweep with what each has left so far."""
    record = manifest.load(directory)
    rows = [read_job(directory, job) for job in sorted(record.jobs, key=lambda job: job.index)]
    return Comparison(directory, record.name, with_differences(rows), record.tracking)


def read_runs(directories: Sequence[Path], destination: Path) -> Comparison:
    """Runs and sweeps of any origin, numbered as they come."""
    rows: list[RunRow] = []
    for directory in directories:
        if (directory / manifest.FILE).is_file():
            rows += read_sweep(directory).rows
        else:
            rows.append(read_run(directory))
    for index, row in enumerate(rows):
        row.index = index
    return Comparison(destination, f"{len(rows)} runs", with_differences(rows))


def with_differences(rows: list[RunRow]) -> list[RunRow]:
    """Fill in `varied`: the swept overrides, and other settings only where those do not tell apart
    runs that differ in more than their seed."""
    keys = _differing(rows, [key for row in rows for key in row.overrides])
    other = _differing(rows, [key for row in rows for key in row.settings])
    other = [key for key in other if key not in keys and not _follows_seed(rows, key)]
    swept = [key for key in keys if key != SEED]
    if len(set(_classes(rows, swept + other))) > len(set(_classes(rows, swept))):
        columns = {tuple(_texts(rows, key)): key for key in reversed(keys + other)}
        keys = sorted(columns.values(), key=(keys + other).index)  # of equal columns the first
    if SEED not in keys:
        keys += _differing(rows, [SEED])
    for row in rows:
        row.varied = {key: _value(row, key) for key in keys}
    return rows


def _differing(rows: list[RunRow], candidates: list[str]) -> list[str]:
    return [
        key
        for key in dict.fromkeys(candidates)
        if is_of_the_run(key) and len(set(_texts(rows, key))) > 1
    ]


def _classes(rows: list[RunRow], keys: list[str]) -> list[str]:
    columns = [_texts(rows, key) for key in keys]
    return [repr([column[place] for column in columns]) for place in range(len(rows))]


def _follows_seed(rows: list[RunRow], key: str) -> bool:
    """The seed itself, and what is set to `${seed}`."""
    return all(row.settings.get(key) == row.seed for row in rows)


def _texts(rows: list[RunRow], key: str) -> list[str]:
    return [repr(_value(row, key)) for row in rows]


def _value(row: RunRow, key: str) -> Any:
    """The setting with its type; the override's text where there is no config, or a group."""
    if key in row.settings:
        return row.settings[key]
    text = row.overrides.get(key)
    return None if text is None else _typed(text)


@cache
def _typed(text: str) -> Any:
    return OmegaConf.from_dotlist([f"value={text}"]).value
