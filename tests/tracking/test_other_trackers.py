"""TensorBoard, W&B and Trackio themselves, without a network: one run each, and what is kept."""

import importlib.util
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
from types import SimpleNamespace
from rlvr.states import State
from rlvr.tracking import open_run

name, directory, *steps = sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:])
tracking = SimpleNamespace(name=name, experiment="project", uri=None, system_metrics=False)
run = open_run(
    tracking, name="shots=2 lr=3e-4", directory=directory,
    params={"shots": 2, "trainer": {"learning_rate": 3e-4}, "api_key": "hf_canary"},
    tags={"seed": 42},
)
run.log_metrics({"base/accuracy": 0.25})
for step in steps:
    run.log_metrics({"reward/total": step / 2, "health/pass@4": 0.5, "train/kl": None}, step)
run.log_metrics({"accuracy/trained": 0.75, "accuracy/gain": 0.5, "accuracy/base": 0.25})
run.log_table([{"question": "1|1", "correct": [True]}], "trained_completions.json")
run.log_artifact(directory / "result.json")
run.finish(State.finished)
print(*run.places.items(), sep="\\n")
"""
METRICS = ("base/accuracy", "accuracy/trained", "accuracy/gain", "reward/total", "health/pass_at_4")


def recorded(name: str, directory: Path, steps: tuple[int, ...] = (1, 2)) -> str:
    """Run SCRIPT in a process of its own: these libraries keep state in their modules."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: it is the extra rlvr[{name}]")
    directory.mkdir(exist_ok=True)
    (directory / "result.json").write_text("{}")
    environment = {**os.environ, "WANDB_MODE": "offline", "TRACKIO_DIR": str(directory / "trackio")}
    for variable in ("RLVR_RUN_ID", "RLVR_RUN_NAME", "RANK", "LOCAL_RANK"):
        environment.pop(variable, None)
    command = [sys.executable, "-c", SCRIPT, name, str(directory), *map(str, steps)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tensorboard(tmp_path: Path):
    places = recorded("tensorboard", tmp_path / "run")
    assert f"tensorboard --logdir {tmp_path / 'run'}" in places
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert set(METRICS) <= set(events.Tags()["scalars"])
    assert [(e.step, e.value) for e in events.Scalars("reward/total")] == [(1, 0.5), (2, 1.0)]
    table = events.Tensors("trained_completions/text_summary")[0].tensor_proto.string_val[0]
    assert b"| question | correct |" in table
    assert b"1\\|1" in table
    kept = b"".join(file.read_bytes() for file in (tmp_path / "run" / "tensorboard").iterdir())
    assert b"_hparams_/session_start_info" in kept
    assert b"trainer.learning_rate" in kept
    assert b"hf_canary" not in kept


@pytest.mark.slow
def test_tensorboard_has_no_step_twice(tmp_path: Path):
    """Of a run that was cut off after step 2, and goes on from a checkpoint of step 1."""
    for steps in ((1, 2), (2, 3)):
        recorded("tensorboard", tmp_path / "run", steps)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "run" / "tensorboard"
    assert len([*folder.iterdir()]) == 2
    events = EventAccumulator(str(folder), purge_orphaned_data=False).Reload()
    points = [(e.step, e.value) for e in events.Scalars("reward/total")]
    assert points == [(1, 0.5), (2, 1.0), (3, 1.5)]
    for name in ("base/accuracy", "accuracy/trained"):
        assert len(events.Scalars(name)) == 1, name
    assert len(events.Tensors("trained_completions/text_summary")) == 1


def test_wandb_goes_on_with_its_run(tmp_path: Path):
    for steps in ((1, 2), (2, 3)):
        recorded("wandb", tmp_path / "run", steps)
    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert len({file.name for file in files}) == 1, "one run"
    found = [step for file in files for step in logged_steps(file)]
    assert found == [1, 2, 3]


def logged_steps(file: Path) -> list[int]:
    """Of the records of W&B's file that have a reward."""
    from wandb.proto.wandb_internal_pb2 import Record

    steps = []
    for data in records(file.read_bytes()):
        record = Record.FromString(data)
        names = ["/".join(item.nested_key) or item.key for item in record.history.item]
        if "reward/total" in names:
            steps.append(record.history.step.num)
    return steps


def records(data: bytes, block: int = 2**15, header: int = 7) -> Iterator[bytes]:
    """Of LevelDB's log format: a checksum, a length and a type stand before each part of one."""
    at, found = header, b""
    while at < len(data):
        if block - at % block < header:
            at += block - at % block
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        at += header
        found += data[at : at + length]
        at += length
        if kind in (1, 4):  # whole, or its last part
            yield found
            found = b""


def test_trackio_goes_on_with_its_run(tmp_path: Path):
    for steps in ((1, 2), (2, 3)):
        recorded("trackio", tmp_path / "run", steps)
    (file,) = (tmp_path / "run" / "trackio").glob("*.db")
    with sqlite3.connect(file) as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics").fetchall()
    assert len({name for name, *_ in rows}) == 1, "one run"
    assert [step for _, step, metrics in rows if "reward/total" in str(metrics)] == [1, 2, 3]


def test_wandb_offline(tmp_path: Path):
    places = recorded("wandb", tmp_path / "run")
    assert "wandb sync" in places
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb")
    kept = file.read_bytes()
    for name in (*METRICS, "trainer.learning_rate", "shots=2 lr=3e-4"):
        assert name.encode() in kept, name
    assert b"hf_canary" not in kept
    assert list(file.parent.glob("files/result.json"))
    assert list(file.parent.glob("files/media/table/trained_completions*"))


def test_trackio(tmp_path: Path):
    places = recorded("trackio", tmp_path / "run")
    assert "trackio show --project project" in places
    assert places.count("\n") == 1, "it prints nothing of its own"
    kept = b"".join(file.read_bytes() for file in (tmp_path / "run" / "trackio").glob("*.db*"))
    for name in (*METRICS, "trainer.learning_rate", "shots=2 lr=3e-4", "trained_completions"):
        assert name.encode() in kept, name
    assert b"hf_canary" not in kept


def test_the_controller_makes_no_mlflow_runs_for_them(tracking):
    from rlvr.manifest import Job, Manifest, Tracking
    from rlvr.tracking import create_runs

    record = Manifest("s", "n", "2026", "local", [], "metric", jobs=[Job(0, "a", "h", [], "0")])
    create_runs(record, replace(tracking, name="tensorboard"))
    assert (record.tracking, record.jobs[0].run_id) == (Tracking(), None)
