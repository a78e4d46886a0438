"""The runs of a comparison, read from their files, and what differs between them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rlvr import formatting, manifest, result
from rlvr.dotted_keys import flatten, is_of_the_run, split_overrides
from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.result import Result

SHORT = {"learning_rate": "lr", "gradient_accumulation_steps": "accumulation"}


@dataclass
class RunRow:
    """One run. `settings` is its flat config, `varied` the part that tells it from the others."""

    index: int
    name: str
    directory: Path
    state: str
    overrides: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    varied: dict[str, Any] = field(default_factory=dict)
    result: Result | None = None
    value: float | None = None
    run_id: str | None = None
    error: str | None = None
    progress: str = ""

    @property
    def base(self) -> dict[str, Any] | None:
        return self.result.base if self.result else None

    @property
    def trained(self) -> dict[str, Any] | None:
        return self.result.trained if self.result else None

    @property
    def points(self) -> float | None:
        """Gain in percentage points."""
        if not self.base or not self.trained:
            return None
        return 100 * float(self.trained["accuracy"] - self.base["accuracy"])

    @property
    def p_value(self) -> float | None:
        paired = self.result.paired if self.result else None
        return paired["p_value"] if paired else None

    @property
    def score(self) -> float | None:
        """What the best run is chosen by: higher is better."""
        if self.state != "finished":
            return None
        return float(self.trained["accuracy"]) if self.trained else self.value

    def label(self) -> str:
        """`shots=4, lr=1e-5`, or the run's name where nothing differs."""
        names = short_names(list(self.varied))
        return ", ".join(f"{names[k]}={shown(v)}" for k, v in self.varied.items()) or self.name


@dataclass
class Comparison:
    """Runs side by side. `directory` is where the comparison is written."""

    directory: Path
    name: str
    rows: list[RunRow]
    tracking: manifest.Tracking = field(default_factory=manifest.Tracking)
    benchmark: str | None = None  # what the scores are of, where not of the runs' own data

    @property
    def keys(self) -> list[str]:
        return list(self.rows[0].varied) if self.rows else []

    @property
    def best(self) -> RunRow | None:
        scored = [row for row in self.rows if row.score is not None]
        return max(scored, key=lambda row: (row.score, -row.index)) if scored else None

    @property
    def benchmarks(self) -> list[str]:
        """Names of the benchmarks that any run was evaluated on."""
        results = [row.result for row in self.rows if row.result]
        return list(dict.fromkeys(name for result in results for name in result.benchmarks))

    def on(self, benchmark: str) -> "Comparison":
        """The same runs with their scores on a benchmark in place of those on their own data."""
        rows = [replace(row, result=_scored_on(row.result, benchmark)) for row in self.rows]
        return replace(self, rows=rows, benchmark=benchmark)

    def common(self, key: str) -> Any:
        """The setting all runs share, None where they differ or do not say."""
        values = {json.dumps(row.settings.get(key), default=str) for row in self.rows}
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


def _scored_on(result: Result | None, benchmark: str) -> Result | None:
    if result is None:
        return None
    scores = result.benchmarks.get(benchmark, {})
    base, trained, paired = (scores.get(part) for part in ("base", "trained", "paired"))
    return replace(result, base=base, trained=trained, paired=paired)


def read_sweep(directory: Path) -> Comparison:
    """The jobs of a sweep with what each has left so far."""
    record = manifest.load(directory)
    rows = [_job_row(directory, job) for job in sorted(record.jobs, key=lambda job: job.index)]
    return Comparison(directory, record.name, _with_differences(rows), record.tracking)


def read_runs(directories: Sequence[Path], destination: Path) -> Comparison:
    """Runs and sweeps of any origin, numbered as they come."""
    rows: list[RunRow] = []
    for directory in directories:
        if (directory / manifest.FILE).is_file():
            rows += read_sweep(directory).rows
        else:
            rows.append(_run_row(directory))
    for index, row in enumerate(rows):
        row.index = index
    return Comparison(destination, f"{len(rows)} runs", _with_differences(rows))


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted key, or as many parts as tell it from the others."""
    names = {}
    for key in keys:
        parts = key.split(".")
        size = 1
        while size < len(parts) and any(
            other != key and other.split(".")[-size:] == parts[-size:] for other in keys
        ):
            size += 1
        last = ".".join(parts[-size:])
        names[key] = SHORT.get(last, last)
    return names


def shown(value: Any) -> str:
    """A setting as people write it: 1e-5, true, null, a list as JSON."""
    if isinstance(value, bool) or value is None or isinstance(value, list | dict):
        return json.dumps(value)
    return formatting.number(value) if isinstance(value, int | float) else str(value)


def model_name(path: str) -> str:
    """`Qwen/Qwen2.5-0.5B`, `/models/Qwen2.5-0.5B/` -> `Qwen2.5-0.5B`; `package:tiny` -> `tiny`."""
    return path.rstrip("/").replace(":", "/").rpartition("/")[2]


def _job_row(sweep: Path, job: Job) -> RunRow:
    directory = sweep / job.dir
    state = job.true_state()
    return RunRow(
        index=job.index,
        name=job.name,
        directory=directory,
        state=str(state),
        overrides=split_overrides(job.overrides),
        settings=_settings(directory),
        result=_result(directory) if state in ("finished", "failed", "killed") else None,
        value=job.value,
        run_id=job.run_id,
        error=job.error,
        progress=_progress(directory) if state == "running" else "",
    )


def _run_row(directory: Path) -> RunRow:
    found = result.read(directory)
    settings = _settings(directory)
    if found is None and not settings:
        raise UserError(
            f"{directory} is neither a sweep nor a run: it has no {manifest.FILE}, {result.FILE} "
            "or config.yaml. Give the directory of a sweep or of runs, or `last`."
        )
    return RunRow(
        index=0,
        name=directory.name,
        directory=directory,
        state=found.status if found else "unfinished",
        overrides=split_overrides(found.overrides if found else []),
        settings=settings,
        result=found,
        value=found.metric if found else None,
        run_id=found.run_id if found else None,
        error=found.error if found else None,
        progress="" if found else _progress(directory),
    )


def _result(directory: Path) -> Result | None:
    """A result that cannot be read counts as none: the manifest still says how the job ended."""
    try:
        return result.read(directory)
    except UserError:
        return None


def _settings(directory: Path) -> dict[str, Any]:
    for name in ("config.yaml", ".hydra/config.yaml"):
        if (directory / name).is_file():
            tree: Any = OmegaConf.to_container(OmegaConf.load(directory / name), resolve=False)
            return dict(flatten(tree)) if isinstance(tree, dict) else {}
    return {}


def _progress(directory: Path) -> str:
    path = directory / "progress.json"
    if not path.is_file():
        return ""
    state = json.loads(path.read_text(encoding="utf-8"))
    return f"{state['phase']} {state['step']}/{state['max_steps']}"


def _with_differences(rows: list[RunRow]) -> list[RunRow]:
    """Fill in `varied`: the swept overrides, and other settings only where those do not do."""
    keys = _differing(rows, [key for row in rows for key in row.overrides])
    if len({_values(row, keys) for row in rows}) < len(rows):
        columns = {tuple(json.dumps(_value(row, key)) for row in rows) for key in keys}
        for key in _differing(rows, [key for row in rows for key in row.settings]):
            column = tuple(json.dumps(_value(row, key)) for row in rows)
            if key not in keys and column not in columns:
                keys.append(key)
                columns.add(column)
    for row in rows:
        row.varied = {key: _value(row, key) for key in keys}
    return rows


def _differing(rows: list[RunRow], candidates: list[str]) -> list[str]:
    return [
        key
        for key in dict.fromkeys(candidates)
        if is_of_the_run(key) and len({_values(row, [key]) for row in rows}) > 1
    ]


def _values(row: RunRow, keys: list[str]) -> str:
    return json.dumps([_value(row, key) for key in keys], default=str)


def _value(row: RunRow, key: str) -> Any:
    """The setting with its type; the override's text where there is no config, or a group."""
    if key in row.settings:
        return row.settings[key]
    text = row.overrides.get(key)
    return None if text is None else OmegaConf.from_dotlist([f"value={text}"]).value
