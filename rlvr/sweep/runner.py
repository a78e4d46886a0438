"""What a launcher is to a sweep: it submits jobs, polls them and cancels them, in one loop.

The loop is single-threaded on purpose: nothing in it can race.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from omegaconf import OmegaConf

from rlvr.manifest import Job
from rlvr.sweep.compose import plain
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.settings import Settings

if TYPE_CHECKING:
    from rlvr.sweep.controller import Sweep


class Runner:
    """The base of all launchers, which bring `submit`, `poll` and `cancel`.

    `waiting` are the jobs that have not been started, `running` those whose end is awaited. A
    launcher tells the sweep what becomes of them: `sweep.submitted` (a job elsewhere, before or
    when it is handed over), `sweep.started` and `sweep.ended`.
    """

    name: ClassVar[str]
    settings: ClassVar[type[Settings]] = Settings
    tick: ClassVar[float] = 0.1  # seconds between rounds

    sweep: "Sweep"
    interrupts: Interrupts
    waiting: list[Job]
    running: list[Job]

    def read(self, job: Job) -> Settings:
        """The job's own `launcher` node; UserError for what is wrong in it."""
        node = plain(OmegaConf.select(job.config, "launcher") or {})
        return self.settings.read(node, self.name)

    def prepare(self, jobs: Sequence[Job], sweep: "Sweep") -> None:
        """Check settings and machine; raises UserError before anything is created."""

    def attachable(self, job: Job) -> bool:
        """Does this job of an earlier controller still run, so that it can be waited for?"""
        return False

    def begin(self) -> None:
        """Before the first round."""

    def submit(self) -> None:
        """Start of `waiting` what may start now; called each round."""
        raise NotImplementedError

    def poll(self, job: Job) -> bool:
        """Take over what has become of a running job; true once it is not awaited any more."""
        raise NotImplementedError

    def cancel(self, requests: int) -> bool:
        """Tell the running jobs to end, for the n-th time; false to leave them to themselves."""
        raise NotImplementedError

    def busy(self) -> bool:
        """What is to be done beside the jobs, a little each round; true while there is more."""
        return False

    def abandon(self) -> None:
        """Something went wrong here: end the running jobs, or say that they go on."""

    def close(self) -> None:
        """The last that is done, whatever happened."""

    def run(self, jobs: Sequence[Job], sweep: "Sweep", interrupts: Interrupts) -> None:
        """Returns when every job has ended or has been left to itself."""
        self.sweep, self.interrupts = sweep, interrupts
        self.waiting = [job for job in jobs if not job.is_remote()]
        self.running = [job for job in jobs if job.is_remote()]
        try:
            self.begin()
            self.loop()
        except BaseException:
            self.abandon()
            raise
        finally:
            self.close()

    def loop(self) -> None:
        """Rounds until nothing is left to wait for."""
        answered = 0
        while self.busy() or self.waiting or self.running:
            if self.interrupts.count > answered:
                answered = self.interrupts.count
                self.withdraw()
                if self.running and not self.cancel(answered):
                    return
            self.submit()
            for job in list(self.running):
                if self.poll(job):
                    self.running.remove(job)
                if self.interrupts.count > answered:
                    break
            self.sweep.prune()
            time.sleep(self.tick)

    def withdraw(self) -> None:
        """Start no more."""
        self.waiting.clear()
