"""One thread for all pretended jobs: each is woken when its time has come."""

import heapq
import itertools
import threading
from typing import Any, Protocol

from .clock import Clock

LONGEST_PAUSE = 3600.0  # seconds


class Sleeper(Protocol):
    turn: int

    def advance(self) -> float | None:
        """Go on, until the time of the service that is returned; None at the end."""


class Scheduler:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._due: list[tuple[float, int, Any]] = []
        self._turns = itertools.count(1)
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)
        self._thread.start()

    def wake(self, sleeper: Sleeper) -> None:
        """Have it go on now, whatever it waits for."""
        with self._changed:
            self._put(sleeper, 0.0)
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=10)

    def _put(self, sleeper: Sleeper, when: float) -> None:
        sleeper.turn = next(self._turns)
        heapq.heappush(self._due, (when, sleeper.turn, sleeper))

    def _run(self) -> None:
        while (found := self._next()) is not None:
            turn, sleeper = found
            when = sleeper.advance()
            with self._changed:
                # one that was woken meanwhile has its next turn already
                if when is not None and sleeper.turn == turn:
                    self._put(sleeper, when)

    def _next(self) -> tuple[int, Sleeper] | None:
        """Blocks until somebody's time has come; None once closed."""
        with self._changed:
            while not self._closed:
                while self._due and self._due[0][1] != self._due[0][2].turn:
                    heapq.heappop(self._due)
                pause = LONGEST_PAUSE
                if self._due:
                    pause = (self._due[0][0] - self._clock.now()) / self._clock.speed
                if pause <= 0:
                    _, turn, sleeper = heapq.heappop(self._due)
                    return turn, sleeper
                self._changed.wait(min(pause, LONGEST_PAUSE))
            return None
