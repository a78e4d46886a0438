import io
import json
import tarfile
from functools import partial

import pytest

from rlvr.launchers.sagemaker import collect
from rlvr.result import Result, read
from rlvr.states import State


@pytest.fixture
def remote(training):
    return partial(training, status="Completed", cost=1.25)


def archive(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def result(**changes):
    return json.dumps({"status": "finished", "metric": 0.5, **changes})


def test_a_completed_job_comes_back_whole(storage, remote, tmp_path):
    base = "s/1/000/output/job/output"
    storage.put(f"{base}/output.tar.gz", archive(**{"result.json": result(), "job.json": "{}"}))
    storage.put(f"{base}/model.tar.gz", archive(**{"adapter.safetensors": "w"}))
    collect.fetch(storage, remote(git={"commit": "abc"}), tmp_path, log="train.log")
    found = json.loads((tmp_path / "result.json").read_text())
    assert (found["cost"], found["git"]) == (1.25, {"commit": "abc"})
    assert (tmp_path / "model" / "adapter.safetensors").read_text() == "w"
    assert not (tmp_path / "job.json").exists()
    collect.fetch(storage, remote(), tmp_path, log="train.log")
    found = read(tmp_path)
    assert (found.status, found.metric) == (State.finished, 0.5)


def test_a_killed_job_comes_back_from_the_copy_of_its_directory(storage, remote, tmp_path):
    """No output.tar.gz: what SageMaker copied while the job ran is all there is."""
    run = "s/1/000/checkpoints/run"
    storage.put(f"{run}/metrics.jsonl", b"{}\n")
    storage.put(f"{run}/result.json", result(status="killed", metric=None).encode())
    storage.put(f"{run}/checkpoints/checkpoint-1/weights", b"large")
    storage.put(f"{run}/../escape", b"x")
    collect.fetch(storage, remote(status="Stopped"), tmp_path, log="train.log")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.jsonl", "result.json"]
    assert read(tmp_path).status is State.killed


FAILED = Result(State.failed, error="ValueError: x", traceback="t")


@pytest.mark.parametrize(
    ("status", "note", "left", "state", "error"),
    [
        ("Completed", "", Result(State.finished, 0.5), "finished", None),
        ("Completed", "", None, "failed", "completed, but left no result"),
        ("Stopped", "", Result(State.finished, 0.5), "finished", None),
        ("Stopped", "MaxRuntimeExceeded", None, "killed", "launcher.max_runtime=60 s"),
        ("Stopped", "MaxWaitTimeExceeded", None, "killed", "launcher.max_wait"),
        ("Stopped", "Stopped", FAILED, "killed", "was stopped"),
        ("Failed", "", FAILED, "failed", "ValueError: x"),
        ("Failed", "", None, "failed", "AlgorithmError: it broke"),
    ],
)
def test_how_a_job_ended(remote, status, note, left, state, error):
    ended = remote(status=status, note=note, failure_reason="AlgorithmError: it broke")
    result = collect.ending(left, ended, 60)
    assert result.status == state
    assert result.error is None if error is None else error in result.error


def test_progress_while_it_runs(storage, remote, tmp_path):
    running = remote(status="InProgress", cost=None)
    collect.progress(storage, running, tmp_path)
    assert not (tmp_path / "progress.json").exists()
    storage.put("s/1/000/checkpoints/run/progress.json", b'{"step": 3}')
    collect.progress(storage, running, tmp_path)
    assert json.loads((tmp_path / "progress.json").read_text()) == {"step": 3}


def test_result_has_the_fields_we_write():
    assert {"cost", "git"} <= set(vars(Result()))


def test_the_cost_of_earlier_attempts_is_added(storage, remote, tmp_path):
    run = "s/1/000/checkpoints/run"
    storage.put(f"{run}/result.json", result(status="killed", metric=None).encode())
    last = remote(status="Stopped", cost=0.5)
    for _ in range(2):  # collecting again adds nothing
        collect.fetch(storage, last, tmp_path, log="train.log", spent=1.25)
        assert read(tmp_path).cost == 1.75
