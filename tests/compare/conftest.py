"""Sweeps as the controller and their jobs leave them, without running anything."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from example_sweep import write_example
from omegaconf import OmegaConf

from rlvr.evaluation.statistics import wilson
from rlvr.manifest import Job, Manifest, Tracking
from rlvr.result import Result
from rlvr.states import State

CONFIG = {
    "shots": 8,
    "seed": 42,
    "output_dir": "outputs",
    "model": {"path": "package:tiny"},
    "dataset": {"name": "word_problems"},
    "trainer": {"learning_rate": 1e-4, "beta": 0.0},
    "eval": {"split": "test", "k": 1},
    "launcher": {"name": "local"},
}


def score(accuracy: float, n: int = 200) -> dict[str, Any]:
    interval = wilson(accuracy * n, n)
    counts = {"n": n, "correct": accuracy * n, "pass_at_k": {"1": accuracy}}
    return {"accuracy": accuracy, "low": interval.low, "high": interval.high, **counts}


def write_answers(run: Path, phase: str, right: list[Any], benchmark: str = "") -> None:
    """Rows of an evaluation: for each question whether it, or each of its samples, is right.

    None is a question that the verifier failed on.
    """
    folder = run / "evaluations"
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, answer in enumerate(right):
        samples = answer if isinstance(answer, list) else [answer]
        row = {
            "id": f"id{number}",
            "question": f"Question {number}?",
            "gold": "7",
            "correct": [bool(sample) for sample in samples],
            "reward": [None if sample is None else float(sample) for sample in samples],
            "reason": ["correct" if sample else "wrong" for sample in samples],
            "extracted": ["7" if sample else "9" for sample in samples],
            "format_ok": [True] * len(samples),
            "tokens": [5] * len(samples),
            "ended": [True] * len(samples),
            "completion": ["It is 7." if sample else "It is 9." for sample in samples],
        }
        lines.append(json.dumps(row) + "\n")
    name = f"{phase}.{benchmark}" if benchmark else phase
    (folder / f"{name}.jsonl").write_text("".join(lines))


def write_run(
    directory: Path,
    overrides: list[str],
    *,
    state: str = "finished",
    base: float | None = 0.33,
    trained: float | None = 0.5,
    p: float = 0.01,
    n: int = 200,
    error: str | None = None,
    cost: float | None = None,
    run_id: str | None = None,
    benchmarks: dict[str, Any] | None = None,
) -> Job:
    """A run's config.yaml and result.json; returns the job that the manifest would have."""
    directory.mkdir(parents=True, exist_ok=True)
    cfg = OmegaConf.create(CONFIG)
    for override in overrides:
        key = override.partition("=")[0]
        if not OmegaConf.is_config(OmegaConf.select(cfg, key)):
            cfg = OmegaConf.merge(cfg, OmegaConf.from_dotlist([override]))
    OmegaConf.save(cfg, directory / "config.yaml")
    done = state == "finished"
    trained = trained if done else None
    look = {"share": 0.2, "step": 8, "accuracy": 0.125, "low": 0.08, "high": 0.19, "n": 128}
    if state in ("finished", "failed", "pruned"):
        Result(
            status=state,
            metric=trained,
            base=score(base, n) if base is not None else None,
            trained=score(trained, n) if trained is not None else None,
            paired={"n": n, "base_only": 1, "trained_only": 9, "p_value": p} if trained else None,
            seconds=125.0,
            cost=cost,
            overrides=overrides,
            error=error,
            run_id=run_id,
            benchmarks=benchmarks or {},
            pruned={"rule": "below the best", "reason": error, "look": look, "against": 0}
            if state == "pruned"
            else None,
        ).write(directory)
    found = {"run_id": run_id, "value": trained, "error": error}
    remote = {"name": "job"} if state == "running" else None
    name = ",".join(overrides)
    index = int(directory.name) if directory.name.isdigit() else 0
    return Job(index, name, "hash", overrides, directory.name, State(state), remote=remote, **found)


@pytest.fixture
def make_sweep(tmp_path: Path) -> Callable[..., Path]:
    """Write a sweep of jobs, each the overrides and the arguments of `write_run`."""

    def make(
        jobs: list[tuple[str, dict[str, Any]]],
        *,
        name: str = "sweep",
        tracking: Tracking | None = None,
        created: str = "2026-01-01T00:00:00.000+00:00",
    ) -> Path:
        directory = tmp_path / "sweeps" / name
        written = [
            write_run(directory / str(index), overrides.split(), **arguments)
            for index, (overrides, arguments) in enumerate(jobs)
        ]
        Manifest(
            sweep_id=name,
            name=name,
            created=created,
            launcher="local",
            command=["python", "train.py"],
            metric="trained/accuracy",
            tracking=tracking or Tracking(),
            jobs=written,
        ).save(directory)
        return directory

    return make


@pytest.fixture
def answer() -> Callable[..., None]:
    return write_answers


@pytest.fixture
def make_run() -> Callable[..., Job]:
    return write_run


@pytest.fixture
def grid() -> list[tuple[str, dict[str, Any]]]:
    """Two shot counts by two learning rates, the higher one of which destroys the model."""
    accuracy = {("2", "2e-4"): 0.87, ("2", "1e-3"): 0.03, ("8", "2e-4"): 0.71, ("8", "1e-3"): 0.02}
    base = {"2": 0.33, "8": 0.21}
    return [
        (
            f"shots={shots} trainer.learning_rate={rate}",
            {"base": base[shots], "trained": value, "p": 1e-9},
        )
        for (shots, rate), value in accuracy.items()
    ]


@pytest.fixture
def example(make_sweep: Callable[..., Path]) -> Path:
    """24 runs with everything that runs leave."""
    return write_example(make_sweep)
