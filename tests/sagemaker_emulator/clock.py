"""The time of the emulated service, which may run faster than ours."""

import time


class Clock:
    """`speed` seconds of the service pass in one of ours, from the moment it is made."""

    def __init__(self, speed: float = 1.0) -> None:
        self.speed = speed
        self._origin = time.time()

    def now(self) -> float:
        """Seconds since the epoch, as the service counts them; our own at speed 1."""
        return self._origin + (time.time() - self._origin) * self.speed
