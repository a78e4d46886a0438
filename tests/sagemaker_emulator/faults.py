"""What goes wrong in the emulator, and when. Every field may be changed while it runs."""

import threading
from collections import Counter
from dataclasses import dataclass, field, fields


@dataclass
class Faults:
    """Scripted trouble; the defaults are an account where nothing fails.

    throttle: API name (or "*" for all of SageMaker) -> every n-th call gets ThrottlingException.
    quotas: instance type -> instances that may be in use; more gets ResourceLimitExceeded.
    capacity_errors: how many of the next jobs fail with CapacityError.
    fail_puts: how many of the next S3 PutObject calls get 503 SlowDown (-1: all).
    lost_answers: how many of the next CreateTrainingJob answers are lost (HTTP 500), the job made.
    log_delay: seconds until a log line is visible in CloudWatch.
    output_on_failure: whether a failed job's output.tar.gz is uploaded (unknown on real AWS).
    spot_warning: seconds between SIGTERM and SIGKILL when spot capacity is reclaimed.
    stop_grace: the same when a job is stopped; None as the emulator was made.
    fail_gets: how many of the next S3 GetObject calls get 503 SlowDown (-1: all).
    empty_pages: how many empty pages come before each page of log events.
    deaf_stops: how many of the next StopTrainingJob calls are throttled, whatever is retried.
    clock_skew: seconds that the service's clock is ahead of this machine's.
    deny_puts: every S3 PutObject call gets 403 AccessDenied.
    """

    throttle: dict[str, int] = field(default_factory=dict)
    quotas: dict[str, int] = field(default_factory=dict)
    capacity_errors: int = 0
    fail_puts: int = 0
    lost_answers: int = 0
    log_delay: float = 0.0
    output_on_failure: bool = True
    spot_warning: float = 2.0
    stop_grace: float | None = None
    deny_puts: bool = False
    fail_gets: int = 0
    empty_pages: int = 0
    deaf_stops: int = 0
    clock_skew: float = 0.0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Counter[str] = Counter()

    def clear(self) -> None:
        """Back to nothing fails."""
        fresh = Faults()
        for item in fields(self):
            setattr(self, item.name, getattr(fresh, item.name))
        self._seen.clear()

    def throttled(self, api: str) -> bool:
        every = self.throttle.get(api, self.throttle.get("*", 0))
        with self._lock:
            self._seen[api] += 1
            return bool(every) and self._seen[api] % every == 0

    def get_fails(self) -> bool:
        with self._lock:
            return self._take("fail_gets")

    def stop_unheard(self) -> bool:
        with self._lock:
            return self._take("deaf_stops")

    def put_fails(self) -> bool:
        with self._lock:
            return self._take("fail_puts")

    def answer_lost(self) -> bool:
        with self._lock:
            return self._take("lost_answers")

    def no_capacity(self) -> bool:
        with self._lock:
            return self._take("capacity_errors")

    def _take(self, counter: str) -> bool:
        left = getattr(self, counter)
        if left > 0:
            setattr(self, counter, left - 1)
        return bool(left != 0)
