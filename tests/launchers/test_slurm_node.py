"""What runs on a node, without a scheduler: the worker, its signals, and the others of its job."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rlvr.launchers.slurm.node import Task, alone, exit_code, file, slurm_nodes


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """scontrol and squeue of a site: what they are asked goes to `asked`, squeue says `squeue`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scontrol = (
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n[ "$1" = show ] && printf "a\\nb\\n"; true\n'
    )
    for name, text in {
        "scontrol": scontrol,
        "squeue": f"#!/bin/sh\ncat {tmp_path}/squeue\n",
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name, value in {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0"}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "squeue").write_text("mine|7_0|COMPLETING\n")
    return folder


# What submitit does with what it was given.
START = (
    "import sys; from rlvr.launchers.slurm.node import start; sys.exit(start(sys.argv[1]) and 1)"
)


def leave(tmp_path: Path, command: str, **values: object) -> Task:
    (tmp_path / "job").mkdir(exist_ok=True)
    made = {
        "submission": "mine",
        "command": ["sh", "-c", command],
        "environment": {"MARK": "7"},
        "directory": str(tmp_path / "job"),
        "log": str(tmp_path / "job/train.log"),
        "timeout_min": 300,
        "signal_delay_s": 120,
        "requeues": 1,
    }
    task = Task(**{**made, **values})
    task.leave(tmp_path, 0)
    return task


def start(tmp_path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START, str(tmp_path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def tell(tmp_path: Path, number: signal.Signals) -> str:
    """Signal a node whose worker is at its work; what the node says."""
    node = start(tmp_path)
    while not (tmp_path / "job/ready").exists():
        time.sleep(0.02)
    node.send_signal(number)
    said, _ = node.communicate(timeout=60)
    (tmp_path / "job/ready").unlink()
    return said


def asked(tmp_path: Path) -> list[str]:
    path = tmp_path / "asked"
    return path.read_text().splitlines() if path.exists() else []


SAVES = "trap 'echo saved; exit 143' TERM USR2; touch job/ready; while :; do sleep 0.1; done"


@pytest.fixture
def saves(tmp_path, commands):
    def left(**values: object) -> Task:
        return leave(tmp_path, f"cd {tmp_path}; {SAVES}", **values)

    return left


def test_the_worker_has_its_surroundings_and_its_log(tmp_path):
    leave(tmp_path, "echo $MARK $RLVR_PARENT_PID; exit 3")
    node = start(tmp_path)
    assert node.wait(timeout=60) == 1, "srun and Slurm are told of a failure"
    assert (tmp_path / "job/train.log").read_text() == f"7 {node.pid}\n"
    assert file(tmp_path, 0, "started").exists()
    assert exit_code(tmp_path, 0) == 3


def test_near_the_time_limit_it_saves_and_is_queued_again_so_many_times(tmp_path, saves):
    saves(timeout_min=1)
    tell(tmp_path, signal.SIGUSR2)
    assert "saved\n" in (tmp_path / "job/train.log").read_text()
    assert asked(tmp_path) == ["requeue 7_0"]
    assert exit_code(tmp_path, 0) is None, "it is not over"

    assert "the time limit was reached 2 times" in tell(tmp_path, signal.SIGUSR2)
    assert asked(tmp_path) == ["requeue 7_0"]
    assert exit_code(tmp_path, 0) == 143


def test_preemption_is_not_counted(tmp_path, saves):
    saves(requeues=0)
    for _ in range(2):
        tell(tmp_path, signal.SIGUSR2)
    assert asked(tmp_path) == ["requeue 7_0"] * 2
    assert exit_code(tmp_path, 0) is None


def test_slurm_says_when_a_job_ends_later_than_asked_for(tmp_path, saves, monkeypatch):
    saves(timeout_min=1, requeues=0)
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 9999))
    tell(tmp_path, signal.SIGUSR2)
    assert asked(tmp_path) == ["requeue 7_0"], "this was no time limit"


def test_where_jobs_cannot_be_queued_again_it_is_over(tmp_path, saves, commands):
    saves()
    (commands / "scontrol").write_text(
        "#!/bin/sh\necho 'Requested operation is disabled'; exit 1\n"
    )
    tell(tmp_path, signal.SIGUSR2)
    assert exit_code(tmp_path, 0) == 143


def test_a_cancelled_job_saves_and_is_left_to_slurm(tmp_path, saves):
    saves()
    tell(tmp_path, signal.SIGTERM)
    assert "saved\n" in (tmp_path / "job/train.log").read_text()
    assert asked(tmp_path) == []
    assert exit_code(tmp_path, 0) is None, "it may be a pre-emption, after which it starts again"


def test_within_the_grace_time_of_a_preemption_it_asks_itself(tmp_path, saves):
    saves()
    (tmp_path / "squeue").write_text("other|6_0|PENDING\nmine|7_0|RUNNING\n")
    tell(tmp_path, signal.SIGTERM)
    assert asked(tmp_path) == ["requeue 7_0"]


def test_a_worker_that_fails_by_itself_is_over(tmp_path, commands):
    leave(
        tmp_path, f"cd {tmp_path}; trap 'exit 1' USR2; touch job/ready; while :; do sleep 0.1; done"
    )
    tell(tmp_path, signal.SIGUSR2)
    assert asked(tmp_path) == []
    assert exit_code(tmp_path, 0) == 1


def test_a_late_submission_and_one_that_is_over_start_nothing(tmp_path):
    task = leave(tmp_path, "echo ran")
    (tmp_path / "job/.slurm_submission").write_text("newer")
    assert "another submission" in start(tmp_path).communicate(timeout=60)[0]
    task.leave(tmp_path, 0)
    file(tmp_path, 0, "exit").write_text("0")
    assert start(tmp_path).wait(timeout=60) == 0
    assert not (tmp_path / "job/train.log").exists()
    task.withdraw()
    assert not task.is_wanted()


def test_two_attempts_at_a_job_wait_for_each_other(tmp_path):
    order = []
    with (tmp_path / ".slurm_node_0").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threading.Timer(
            1, lambda: (order.append("earlier"), fcntl.flock(lock, fcntl.LOCK_UN))
        ).start()
        with alone(tmp_path, "0"):
            order.append("later")
    assert order == ["earlier", "later"]


def test_each_node_of_several_knows_the_others(tmp_path, commands, monkeypatch):
    for name in ("SLURM_JOB_NUM_NODES", "SLURM_NODEID"):
        monkeypatch.delenv(name, raising=False)
    assert slurm_nodes() == {}
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "gpu[3-4]")
    monkeypatch.setenv("SLURM_NODEID", "1")
    assert slurm_nodes() == {"RLVR_HOSTS": "a,b", "RLVR_HOST": "1"}
    leave(tmp_path, "echo $RLVR_HOST of $RLVR_HOSTS")
    assert start(tmp_path).wait(timeout=60) == 0
    assert (tmp_path / "job/train.log.1").read_text() == "1 of a,b\n"
    assert exit_code(tmp_path, 0) is None, "the first node says when the job is over"
    assert asked(tmp_path)[0] == "show hostnames gpu[3-4]"


def test_what_a_node_is_left_is_all_it_needs(tmp_path):
    leave(tmp_path, "true")
    assert json.loads(file(tmp_path, 0, "json").read_text())["submission"] == "mine"
    assert (tmp_path / "job/.slurm_submission").read_text() == "mine"
