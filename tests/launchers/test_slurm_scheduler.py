"""What Slurm's commands are asked and what is made of their answers."""

import subprocess
from pathlib import Path

import pytest

from rlvr.launchers.slurm import scheduler
from rlvr.launchers.slurm.scheduler import Seen
from rlvr.launchers.slurm.script import script
from rlvr.launchers.slurm.settings import SlurmSettings
from rlvr.states import State


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Let a command print a text and end with a code; its arguments go to `asked`."""

    def answer(name: str, text: str, code: int = 0) -> Path:
        (tmp_path / "answer").write_text(text)
        asked = tmp_path / "asked"
        command = tmp_path / name
        command.write_text(f'#!/bin/sh\necho "$*" >> {asked}\ncat {tmp_path}/answer\nexit {code}\n')
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return asked

    return answer


def test_squeue_has_a_line_for_each_task(answers):
    asked = answers("squeue", "one|100_0|RUNNING\none|100_1|COMPLETING\ntwo|101|PENDING\n")
    found = scheduler.queued({"two", "one"})
    assert found == {("one", 0): Seen("100_0", "RUNNING"), ("one", 1): Seen("100_1", "COMPLETING")}
    assert "--array --states=all --name=one,two" in asked.read_text()


def test_sacct_joins_tasks_that_wait(answers):
    asked = answers("sacct", "one|100_[2-5%2]|PENDING\none|100_0|CANCELLED by 1000\n")
    found = scheduler.accounted(["one"], "2026-01-02T12:00:00.000+00:00")
    assert found == {("one", 0): Seen("100_0", "CANCELLED by 1000")}
    assert found["one", 0].state is State.killed
    assert "--starttime=2026-01-01" in asked.read_text()


def test_no_answer_is_not_an_empty_one(answers):
    answers("squeue", "", code=1)
    assert scheduler.queued(["one"]) is None
    answers("squeue", "")
    assert scheduler.queued(["one"]) == {}


def test_a_command_that_hangs_is_no_answer(answers, monkeypatch):
    monkeypatch.setattr(scheduler, "PATIENCE", 0.2)
    answers("squeue", "").with_name("squeue").write_text("#!/bin/sh\nexec sleep 20\n")
    assert scheduler.queued(["one"]) is None


def test_a_word_that_is_new_is_no_end():
    assert not Seen("1_0", "SOMETHING_NEW").ended
    assert Seen("1_0", "NODE_FAIL").ended


@pytest.mark.parametrize(
    ("text", "code", "number"), [("100;cluster\n", 0, "100"), ("", 1, None), ("what?", 0, None)]
)
def test_the_number_that_sbatch_gives(answers, tmp_path, text, code, number):
    asked = answers("sbatch", text, code)
    folder = tmp_path / "mine"
    folder.mkdir()
    assert scheduler.submit(folder / "submit.sh")[0] == number
    assert asked.read_text() == f"--parsable --job-name=mine {folder}/submit.sh\n"
    assert not scheduler.is_submitting(folder)


def test_an_sbatch_that_outlives_its_controller_is_seen(tmp_path):
    lock = (tmp_path / scheduler.IN_FLIGHT).open("a")
    holder = subprocess.Popen(["flock", "-F", str(lock.name), "sleep", "20"])
    try:
        while not scheduler.is_submitting(tmp_path):
            assert holder.poll() is None
    finally:
        holder.kill()
        holder.wait()
    assert not scheduler.is_submitting(tmp_path / "never made")


def test_the_script_asks_for_what_is_set_alone():
    settings = SlurmSettings(gpus_per_node=0, mem_gb=0.5, partition="a b", n_jobs=None)
    settings.additional_parameters = {"exclusive": True, "mail_type": "END", "mem": "0"}
    text = script(settings, "mine", Path("/shared/mine"), 3)
    options = [line.removeprefix("#SBATCH --") for line in text.splitlines() if "#SBATCH" in line]
    assert {"job-name=mine", "array=0-2%3", "partition='a b'", "exclusive", "mem=0"} < set(options)
    assert not [option for option in options if option.startswith(("gpus", "account", "qos"))]
    assert text.splitlines()[-1].endswith('node /shared/mine "$SLURM_ARRAY_TASK_ID"')
