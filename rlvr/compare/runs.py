"""One run, read from the files that it left."""

import json
import re
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from rlvr import manifest, result
from rlvr.compare.answers import Shares, read_shares
from rlvr.compare.names import short_names, shown
from rlvr.dotted_keys import flatten, split_overrides
from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.result import Result


@dataclass
class RunRow:
    """One run. `settings` is its flat config, `varied` the part that tells it from the others,
    `origin` the directory of its sweep, or its own."""

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
    origin: Path = Path()
    benchmark: str | None = None  # what the scores are of, where not of the run's own data
    read: dict[tuple[str, str | None], Shares] = field(default_factory=dict, repr=False)

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
        """Trained against base, of this run alone."""
        paired = self.result.paired if self.result else None
        return paired["p_value"] if paired else None

    @property
    def score(self) -> float | None:
        """What the best run is chosen by: higher is better."""
        if self.state != "finished":
            return None
        return float(self.trained["accuracy"]) if self.trained else self.value

    def scored_by(self, kind: str, name: str, benchmark: str) -> "RunRow":
        """With the scores of one of its result's `benchmarks` or `protocols` in place of its own.

        The job's metric is of its own data: a run that has no such scores has none."""
        if self.result is None:
            return replace(self, value=None, benchmark=benchmark)
        scores = getattr(self.result, kind).get(name, {})
        base, trained, paired = (scores.get(part) for part in ("base", "trained", "paired"))
        found = replace(self.result, base=base, trained=trained, paired=paired)
        return replace(self, result=found, value=None, benchmark=benchmark)

    @property
    def pruned(self) -> dict[str, Any] | None:
        """Why it was ended early, as `rlvr.pruning.Pruned`."""
        return self.result.pruned if self.result else None

    @property
    def seed(self) -> Any:
        return self.settings.get("seed", self.varied.get("seed"))

    def label(self) -> str:
        """`shots=4, lr=1e-5`, or the run's name where nothing differs."""
        return label(self.varied) or self.name

    def shares(self, phase: str) -> Shares:
        """Right answers of the `base` or `trained` evaluation by question; reads a file once."""
        key = phase, self.benchmark
        if key not in self.read:
            self.read[key] = read_shares(self.directory, phase, self.benchmark)
        return self.read[key]


def label(varied: dict[str, Any]) -> str:
    names = short_names(list(varied))
    return ", ".join(f"{names[key]}={shown(value)}" for key, value in varied.items())


def read_job(sweep: Path, job: Job) -> RunRow:
    """A job of a sweep with what it has left so far."""
    directory = sweep / job.dir
    state = job.true_state()
    return RunRow(
        index=job.index,
        name=job.name,
        directory=directory,
        state=str(state),
        overrides=split_overrides(job.overrides),
        settings=_settings(directory),
        result=_result(directory) if state.ended and state != "lost" else None,
        value=job.value,
        run_id=job.run_id,
        error=job.error,
        progress=_progress(directory) if state == "running" else "",
        origin=sweep,
    )


def read_run(directory: Path) -> RunRow:
    """A run that belongs to no sweep, or is looked at without it."""
    found = result.ended(directory)
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
        origin=directory,
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
            text = (directory / name).read_text(encoding="utf-8")
            return {k: v for section in _sections(text) for k, v in _parsed(section).items()}
    return {}


def _sections(text: str) -> list[str]:
    """A YAML block mapping cut before each of its keys: the runs of a sweep share most of them."""
    return re.split(r"(?m)^(?=[^\s\-#])", text)


@cache
def _parsed(section: str) -> dict[str, Any]:
    tree = yaml.load(section, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return dict(flatten(tree)) if isinstance(tree, dict) else {}


def _progress(directory: Path) -> str:
    path = directory / "progress.json"
    if not path.is_file():
        return ""
    state = json.loads(path.read_text(encoding="utf-8"))
    return f"{state['phase']} {state['step']}/{state['max_steps']}".removesuffix(" 0/0")
