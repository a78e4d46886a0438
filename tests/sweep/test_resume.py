"""What becomes of an earlier sweep's jobs."""

import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest
from rlvr.processes import start_time
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep.resume import Resume, set_aside


def job(index: int, digest: str | None = None, overrides=None, **known) -> Job:
    overrides = [f"shots={index}"] if overrides is None else overrides
    return Job(index, f"shots={index}", digest or f"h{index}", overrides, str(index), **known)


class Earlier:
    """An earlier sweep, and what is done to it."""

    def __init__(self, *jobs: Job) -> None:
        self.record = Manifest("s", "n", "2025", "local", [], "metric", jobs=list(jobs))
        self.left: dict[int, Result] = {}
        self.attachable: set[int] = set()
        self.ended: list[tuple[int, str]] = []
        self.resume = Resume(
            self.record,
            list(jobs),
            lambda job: self.left.get(job.index),
            lambda job: job.index in self.attachable,
            lambda job, state: self.ended.append((job.index, state)),
        )

    def match(self, *composed: Job) -> list[Job]:
        for new in composed:
            new.config = OmegaConf.create({"new": True})
        found = self.resume.match(composed)
        assert all(job.config.new for job in found), "each goes on with the config of this request"
        return found


FINISHED = Result(State.finished, 0.5)


def test_finished_jobs_are_kept():
    earlier = Earlier(job(0, state=State.finished, value=0.1, run_id="r0"))
    earlier.left[0] = FINISHED
    (kept,) = earlier.match(job(0))
    assert kept is earlier.record.jobs[0]
    assert (kept.state, kept.value, kept.run_id) == ("finished", 0.5, "r0")
    assert earlier.resume.describe() == "  kept: #0 shots=0"
    assert earlier.ended == []


def test_a_job_that_finished_unseen_is_kept_and_its_run_ended():
    earlier = Earlier(job(0, state=State.running, pid=1, pid_started=1))
    earlier.left[0] = FINISHED
    (kept,) = earlier.match(job(0))
    assert (kept.state, kept.value, kept.pid) == ("finished", 0.5, None)
    assert earlier.ended == [(0, State.finished)]


@pytest.mark.parametrize(
    ("state", "left", "shown", "ended"),
    [
        (State.failed, Result(State.failed), "failed", []),
        (State.killed, None, "killed", []),
        (State.pending, None, "pending", []),
        (State.finished, Result(State.failed), "lost", []),
        (State.running, None, "lost", [(0, State.lost)]),
    ],
)
def test_others_run_again_under_their_run(state, left, shown, ended):
    earlier = Earlier(job(0, state=state, run_id="r0", error="e", remote=None))
    earlier.left = {} if left is None else {0: left}
    (again,) = earlier.match(job(0))
    assert (again.state, again.run_id, again.error) == ("pending", "r0", None)
    assert earlier.resume.describe() == f"  run again: #0 shots=0 ({shown})"
    assert earlier.ended == ended


def test_what_earlier_attempts_have_cost_is_kept():
    earlier = Earlier(job(0, state=State.killed, remote={"cost": 0.5}, spent=0.25))
    (again,) = earlier.match(job(0))
    assert (again.remote, again.spent) == (None, 0.75)


def test_remote_jobs_are_waited_for_or_lost():
    jobs = [job(i, state=State.running, remote={"id": str(i)}) for i in range(2)]
    earlier = Earlier(*jobs)
    earlier.attachable = {0}
    attached, lost = earlier.match(job(0), job(1))
    assert (attached.state, attached.remote) == ("running", {"id": "0"})
    assert (lost.state, lost.remote) == ("pending", None)
    assert "still running, waited for: #0" in earlier.resume.describe()


def test_a_changed_configuration_starts_anew_beside_the_old_results(tmp_path):
    old = job(3, "old", ["shots=3"], state=State.finished, run_id="r3")
    old.directory = tmp_path / "3"
    old.directory.mkdir()
    old.spent, old.remote = 1.0, {"name": "job-3", "cost": 0.5}
    earlier = Earlier(old)
    (new,) = earlier.match(job(0, "new", ["shots=3", "launcher.n_jobs=2"]))
    assert (new.index, new.state, new.run_id, new.hash) == (3, "pending", None, "new")
    assert earlier.record.jobs == [new]
    assert new.spent == 1.5, "what was paid is not forgotten"
    assert (tmp_path / "3.old-1").is_dir()
    assert "their configuration has changed: #3" in earlier.resume.describe()


def test_new_jobs_come_after_the_old_and_others_stay():
    earlier = Earlier(job(0, state=State.failed), job(1, state=State.failed))
    (new,) = earlier.match(job(0, "other", ["shots=9"]))
    assert new.index == 2
    assert [known.index for known in earlier.record.jobs] == [0, 1, 2]
    assert earlier.resume.describe() == (
        "  new: #2 shots=0\n  not in this request, left as they are: #0 shots=0; #1 shots=1"
    )


def test_the_finished_one_of_two_equal_jobs_is_taken_first():
    earlier = Earlier(job(0, "h", state=State.failed), job(1, "h", state=State.finished))
    earlier.left[1] = FINISHED
    one, two = earlier.match(job(0, "h"), job(1, "h"))
    assert (one.index, one.state) == (1, "finished")
    assert (two.index, two.state) == (0, "pending")


@pytest.mark.parametrize("digest", ["h0", "changed"])
def test_what_still_runs_must_be_stopped_first(digest):
    own = {"pid": os.getpid(), "pid_started": start_time(os.getpid())}
    first, second = job(0, state=State.failed), job(1, state=State.running, **own)
    earlier = Earlier(first, second)
    with pytest.raises(UserError, match=rf"#1 shots=1 still runs as process {os.getpid()}"):
        earlier.match(job(0, digest), job(1))
    assert first.state == "failed", "nothing was changed"


def test_a_running_remote_job_of_another_configuration_is_refused():
    earlier = Earlier(job(0, state=State.running, remote={"id": "0"}))
    earlier.attachable = {0}
    with pytest.raises(UserError, match="still runs, with another configuration"):
        earlier.match(job(0, "changed"))


def test_results_are_set_aside_any_number_of_times(tmp_path: Path):
    for number in (1, 2):
        (tmp_path / "0").mkdir()
        set_aside(tmp_path / "0")
        assert (tmp_path / f"0.old-{number}").is_dir()
    set_aside(tmp_path / "0")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_pruned_job_is_kept_and_runs_to_its_end_where_that_is_asked_for():
    earlier = Earlier(job(0, state=State.pruned, error="below the best"))
    earlier.left[0] = Result(State.pruned, error="below the best")
    (kept,) = earlier.match(job(0))
    assert (kept.state, kept.error) == ("pruned", "below the best")
    again = Earlier(job(0, state=State.pruned, error="below the best"))
    again.left[0] = Result(State.pruned, error="below the best")
    again.resume.complete = (State.finished,)  # as with pruner=none
    (repeated,) = again.match(job(0))
    assert (repeated.state, repeated.error) == ("pending", None)
