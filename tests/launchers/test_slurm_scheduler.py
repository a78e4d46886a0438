"""What Slurm's commands are asked and what is made of their answers."""

import os
from pathlib import Path

import pytest

from rlvr.launchers.slurm import array, scheduler
from rlvr.launchers.slurm.scheduler import Seen
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
    asked = answers(
        "squeue",
        "one|100_0|RUNNING\none|100_1|COMPLETING\ntwo|101|PENDING\nall|102_[0-3]|PENDING\n",
    )
    found = scheduler.queued({"two", "one"})
    assert found == {
        ("one", 0): Seen("100_0", "RUNNING"),
        ("one", 1): Seen("100_1", "COMPLETING"),
        ("two", 0): Seen("101", "PENDING"),
    }
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


def submitted(answers, tmp_path, text, code=0, **settings):
    """An array of three, and the script that sbatch was given."""
    answers("srun", "")
    answers("sbatch", text, code)
    folder = tmp_path / "mine"
    folder.mkdir()
    found = array.submit(folder, "mine", SlurmSettings(**settings), 3)
    scripts = [*folder.glob("*submission*.sh"), *folder.glob("*submission_file*")]
    return found, scripts[0].read_text() if scripts else "", folder


def test_the_numbers_that_sbatch_gives(answers, tmp_path, monkeypatch):
    monkeypatch.setenv("SBATCH_JOB_NAME", "another")
    text = "Submitted batch job 100\n"
    (numbers, _), script, folder = submitted(answers, tmp_path, text, n_jobs=2)
    assert numbers == ["100_0", "100_1", "100_2"]
    assert "#SBATCH --job-name=mine\n" in script
    assert "#SBATCH --array=0-2%2\n" in script
    assert "SBATCH_JOB_NAME" not in os.environ, "it would go before the script's own"
    assert len(list(folder.glob("100_*_submitted.pkl"))) == 3


@pytest.mark.parametrize(("text", "code"), [("", 1), ("what?", 0)])
def test_an_answer_that_says_no_number(answers, tmp_path, text, code):
    (numbers, said), _, folder = submitted(answers, tmp_path, text, code)
    assert numbers == []
    assert said
    array.complete(folder, "7_1")
    assert (folder / "7_1_submitted.pkl").exists(), "whoever finds the task gives it its pickle"


def test_sbatch_is_asked_for_what_is_set_alone(answers, tmp_path):
    settings = {"gpus_per_node": 0, "mem_gb": 0.5, "partition": "a b", "n_jobs": None}
    settings["additional_parameters"] = {"exclusive": True, "mail_type": "END"}
    _, script, _ = submitted(answers, tmp_path, "Submitted batch job 100\n", **settings)
    options = {line.removeprefix("#SBATCH --") for line in script.splitlines() if "#SBATCH" in line}
    wanted = {"partition='a b'", "exclusive", "mem=512MB", "mail-type=END", "requeue"}
    assert wanted | {"signal=USR2@120", "open-mode=append"} <= options
    assert not [option for option in options if option.startswith(("gpus", "account", "qos"))]
