"""Sweeps of real processes, on this machine or on a pretended Slurm cluster."""

import json
import random
import time
from pathlib import Path

from slurm_cluster import Cluster

from launcher_fuzz.campaign import Campaign, Fuzzed
from launcher_fuzz.controllers import Controllers
from rlvr.manifest import Job, Manifest
from rlvr.processes import is_alive

APP = Path(__file__).parents[1] / "launchers/app/app.py"


def draw(seed: int, launcher: str = "local") -> Fuzzed:
    rng = random.Random(seed)
    jobs = rng.randint(2, 5)
    polling = [] if launcher == "local" else ["+launcher.poll_seconds=0.3"]
    overrides = [
        *polling,
        f"launcher={launcher}",
        f"shots={','.join(map(str, range(jobs)))}",
        f"seconds={rng.choice([0.0, 0.2, 0.5])}",
        f"launcher.n_jobs={rng.randint(1, jobs)}",
    ]
    return Fuzzed(seed, overrides)


class LocalCampaign(Campaign):
    app = APP
    longest = 3.0

    def go_on(self) -> list[str]:
        """Jobs of a killed controller end within seconds; a resume is refused until then."""
        if directory := self.directory():
            deadline = time.monotonic() + 30
            while any(map(_lives, attempts(directory))) and time.monotonic() < deadline:
                time.sleep(0.05)
        return super().go_on()

    def problems(self, record: Manifest) -> list[str]:
        directory = self.directory()
        assert directory is not None
        self.fuzzed.attempts = len(attempts(directory))
        wrong = [f"process {a['pid']} is an orphan" for a in attempts(directory) if _lives(a)]
        return wrong + [text for job in record.jobs for text in doubled(job)]


class SlurmCampaign(LocalCampaign):
    """Arrays are pre-empted and nodes fail, sbatch's answers are lost, sacct says nothing."""

    longest = 5.0

    def __init__(self, fuzzed: Fuzzed, controllers: Controllers, folder: Path) -> None:
        super().__init__(fuzzed, controllers, folder)
        self.cluster = Cluster.make(folder / "cluster")
        self.environment |= self.cluster.environment
        self.cluster.fault("sbatch", *self._drawn("lost", "killed", "slow 1", "late 1"))
        self.cluster.fault("sacct", *self._drawn("fail", "empty", "fail*"))
        self.cluster.fault("squeue", *self._drawn("fail", "fail"))

    def _drawn(self, *faults: str) -> list[str]:
        return [fault for fault in faults if self.rng.random() < 0.3]

    def go_on(self) -> list[str]:
        for task in self.cluster.alive():
            if self.rng.random() < 0.3:
                self.cluster.call(self.rng.choice(["preempt", "node_fail", "lose"]), task)
        return Campaign.go_on(self)

    def run(self, kills: int) -> Fuzzed:
        try:
            return super().run(kills)
        finally:
            self.cluster.call("shutdown")

    def calm(self) -> None:
        for command in ("sbatch", "sacct", "squeue"):
            self.cluster.fault(command)

    def problems(self, record: Manifest) -> list[str]:
        left = [f"task {task} is an orphan" for task in self.cluster.alive()]
        return left + [text for job in record.jobs for text in doubled(job)]


def attempts(directory: Path) -> list[dict]:
    """What each start of a job has written down, of all jobs."""
    found = sorted(directory.glob("*/attempts.jsonl"))
    return [json.loads(line) for file in found for line in file.read_text().splitlines()]


def doubled(job: Job) -> list[str]:
    """Starts beside one that lived, or after one that had finished."""
    every = attempts_of(job)
    wrong = [f"{job.label} was started beside process {a['beside']}" for a in every if a["beside"]]
    return wrong + [f"{job.label} was started again" for a in every if a["finished"]]


def attempts_of(job: Job) -> list[dict]:
    file = job.directory / "attempts.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _lives(attempt: dict) -> bool:
    return is_alive(attempt["pid"], attempt["pid_started"])
