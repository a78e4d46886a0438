"""The loop that all launchers share, with a launcher whose jobs end when they are told to."""

from types import SimpleNamespace

import pytest

from rlvr.manifest import Job
from rlvr.states import State
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.runner import Runner


class Counting(Runner):
    """A job ends at its third poll; `happens` is called before each round, with its number."""

    name = "counting"
    tick = 0.0

    def __init__(self, most=2, patient=True):
        self.most, self.patient = most, patient
        self.polled, self.did, self.rounds = {}, [], 0
        self.happens = lambda number: None
        self.late = 0  # rounds in which it is busy with other things

    def begin(self):
        self.did.append("begin")

    def busy(self):
        self.happens(self.rounds)
        self.rounds += 1
        assert self.rounds < 100, "the loop does not end"
        return self.rounds <= self.late

    def submit(self):
        if self.waiting and len(self.running) < self.most:
            job = self.waiting.pop(0)
            self.did.append(f"submit {job.index}")
            self.running.append(job)

    def poll(self, job):
        self.polled[job.index] = self.polled.get(job.index, 0) + 1
        return self.polled[job.index] == 3

    def cancel(self, requests):
        self.did.append(f"cancel {requests}")
        return self.patient

    def abandon(self):
        self.did.append("abandon")

    def close(self):
        self.did.append("close")


def jobs(number, **first):
    made = [Job(index, "n", "h", [], str(index)) for index in range(number)]
    for key, value in first.items():
        setattr(made[0], key, value)
    return made


def run(runner, every):
    runner.run(every, SimpleNamespace(prune=lambda: None), Interrupts())
    return runner.did


def test_all_are_submitted_and_awaited():
    runner = Counting(most=2)
    assert run(runner, jobs(3)) == ["begin", "submit 0", "submit 1", "submit 2", "close"]
    assert runner.polled == {0: 3, 1: 3, 2: 3}


def test_one_that_runs_elsewhere_is_awaited_and_not_submitted():
    runner = Counting()
    assert run(runner, jobs(2, remote={"id": "1"})) == ["begin", "submit 1", "close"]
    assert runner.polled == {0: 3, 1: 3}
    ended = Counting()
    run(ended, jobs(1, remote={"id": "1"}, state=State.failed))
    assert ended.did == ["begin", "submit 0", "close"], "what it was has ended: it runs again"


def test_it_goes_on_while_there_is_other_work():
    runner = Counting()
    runner.late = 9
    run(runner, jobs(1))
    assert runner.rounds == 10


def interrupt_in(runner, *rounds):
    def happens(number):
        runner.interrupts.count += rounds.count(number)

    runner.happens = happens
    return runner


def test_ctrl_c_starts_nothing_more_and_waits_for_what_is_told_to_end():
    runner = interrupt_in(Counting(most=1), 1)
    assert run(runner, jobs(3)) == ["begin", "submit 0", "cancel 1", "close"]
    assert runner.polled == {0: 3}


def test_each_further_one_is_handed_on():
    runner = interrupt_in(Counting(most=1), 1, 2)
    assert run(runner, jobs(3)) == ["begin", "submit 0", "cancel 1", "cancel 2", "close"]


def test_a_launcher_may_leave_its_jobs_to_themselves():
    runner = interrupt_in(Counting(patient=False), 1)
    assert run(runner, jobs(2)) == ["begin", "submit 0", "cancel 1", "close"]
    assert [job.index for job in runner.running] == [0]
    assert runner.polled == {0: 1}


def test_with_nothing_running_there_is_nothing_to_end():
    runner = interrupt_in(Counting(), 0)
    assert run(runner, jobs(2)) == ["begin", "close"]


def test_what_goes_wrong_here_abandons_the_jobs_and_is_raised():
    runner = Counting()

    def fail(number):
        if number == 2:
            raise ZeroDivisionError

    runner.happens = fail
    with pytest.raises(ZeroDivisionError):
        run(runner, jobs(2))
    assert runner.did[-2:] == ["abandon", "close"]
