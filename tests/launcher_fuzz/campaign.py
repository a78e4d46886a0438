"""One sweep, from its first controller to an undisturbed end; controllers are killed at random."""

import os
import random
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from launcher_fuzz.controllers import Controllers
from rlvr.manifest import FILE, Manifest, load
from rlvr.result import read
from rlvr.states import State

LIVES = 12  # of controllers, the undisturbed ones included
PATIENCE = 90.0  # seconds that an undisturbed one may take


@dataclass
class Fuzzed:
    """What one seed has drawn, and what became of it."""

    seed: int
    overrides: list[str]
    kills: int = 0
    lives: int = 0
    attempts: int = 0
    problems: list[str] = field(default_factory=list)


class Campaign:
    """`app` is the program that starts sweeps; `longest` the seconds after which a kill comes."""

    app: Path
    longest = 6.0

    def __init__(self, fuzzed: Fuzzed, controllers: Controllers, folder: Path) -> None:
        self.fuzzed, self.controllers = fuzzed, controllers
        self.rng = random.Random(f"controllers {fuzzed.seed}")
        self.home, self.elsewhere = folder / "here", folder / "elsewhere"
        for home in (self.home, self.elsewhere):
            home.mkdir(parents=True)
        self.environment = dict(os.environ)

    def run(self, kills: int) -> Fuzzed:
        while self.fuzzed.kills < kills and self.fuzzed.lives < LIVES // 2:
            how = self.rng.choice([signal.SIGKILL] * 4 + [signal.SIGINT])
            ended = self._live(self.go_on(), self.rng.uniform(0.2, self.longest), how)
            self.fuzzed.kills += not ended
        self.calm()
        while self.fuzzed.lives < LIVES and not self._is_over():
            self._live(self.resume(), PATIENCE, signal.SIGKILL)
        directory = self.directory()
        if directory is None:
            self.fuzzed.problems.append("no sweep has begun")
        else:
            record = load(directory)
            self.fuzzed.problems += [*lost(record), *self.problems(record)]
        return self.fuzzed

    def calm(self) -> None:
        """From here on nothing disturbs."""

    def problems(self, record: Manifest) -> list[str]:
        """What has gone wrong, though every job has its result."""
        raise NotImplementedError

    def start(self) -> list[str]:
        return [str(self.app), "-m", *self.fuzzed.overrides]

    def resume(self) -> list[str]:
        directory = self.directory()
        again = [] if directory is None else [f"launcher.resume={directory}"]
        return [str(self.app), "-m", *self.fuzzed.overrides, *again]

    def go_on(self) -> list[str]:
        return self.start() if self.directory() is None else self.resume()

    def directory(self) -> Path | None:
        found = sorted(self.home.glob(f"sweeps/*/{FILE}"))
        return found[0].parent if found else None

    def _is_over(self) -> bool:
        directory = self.directory()
        return directory is not None and all(
            job.state is State.finished for job in load(directory).jobs
        )

    def _live(self, command: list[str], seconds: float, how: signal.Signals) -> bool:
        """Run one controller, and end it after so many seconds; whether it ended by itself."""
        self.fuzzed.lives += 1
        home = self.elsewhere if any("s3://" in part for part in command) else self.home
        out = home / f"life-{self.fuzzed.lives}.txt"
        environment = {**self.environment, "RLVR_OUTPUT_DIR": str(home)}
        pid = self.controllers.start(*command, env=environment, cwd=home, out=out)
        ended = _await_end(pid, seconds)
        if not ended:
            os.kill(pid, how)
            if how is signal.SIGKILL and seconds == PATIENCE:
                self.fuzzed.problems.append(f"{out}: had not ended after {seconds:.0f} s")
            if how is signal.SIGINT and not _await_end(pid, PATIENCE):
                self.fuzzed.problems.append(f"{out}: Ctrl-C was not heard")
                os.kill(pid, signal.SIGKILL)
        self.controllers.wait(pid)
        if re.search("(?m)^Traceback", out.read_text(errors="replace")):
            self.fuzzed.problems.append(f"{out}: a traceback")
        return ended


def _await_end(pid: int, seconds: float) -> bool:
    """Whether it has ended by then; until it is waited for it is a zombie."""
    deadline = time.monotonic() + seconds
    while not (ended := _is_zombie(pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return ended


def _is_zombie(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return stat.rpartition(")")[2].split()[0] == "Z"


def lost(record: Manifest) -> list[str]:
    wrong = []
    for job in record.jobs:
        result = read(job.directory)
        if job.state is not State.finished or result is None or result.status is not State.finished:
            wrong.append(f"{job.label} is {job.state}: {job.error}")
    return wrong
