"""What goes wrong in the emulator, and when. Every field may be changed while it runs."""

import threading
from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from typing import Any

Where = tuple[str, str, bool]  # region, instance type, whether it is spot capacity


@dataclass
class Faults:
    """Scripted trouble; the defaults are an account where nothing fails.

    Those that count are for the next calls or jobs of their kind; -1 is for all of them.

    throttle: API name (or "*" for all of SageMaker) -> every n-th call gets ThrottlingException.
    quotas: instance type, for all regions, spot or not, or a Where -> instances that may be in
        use; more gets ResourceLimitExceeded.
    warm_quotas: the same for instances with KeepAlivePeriodInSeconds, by instance type.
    capacity_errors: how many jobs fail with CapacityError.
    no_capacity_for: where there are no instances: a job there fails with CapacityError, a spot job
        waits until its place is taken out, or MaxWaitTimeInSeconds are over.
    fail_puts, fail_gets: how many S3 PutObject and GetObject calls get 503 SlowDown.
    deny_puts: every S3 PutObject call gets 403 AccessDenied.
    truncated_gets: how many S3 GetObject answers break off in the middle.
    slow_gets: seconds that the second half of every S3 GetObject answer takes to come.
    lost_answers, lost_stops: how many CreateTrainingJob and StopTrainingJob answers are lost (HTTP
        500), what was asked for being done.
    deaf_stops: how many StopTrainingJob calls are throttled, whatever is retried.
    ignored_stops: how many StopTrainingJob calls are accepted, and nothing happens.
    stop_grace: seconds between SIGTERM and SIGKILL when a job is stopped; None as the emulator was
        made.
    spot_warning: the same when spot capacity is reclaimed.
    log_delay: seconds until a log line is visible in CloudWatch.
    empty_pages: how many empty pages come before each page of log events.
    throttled_pages: how many GetLogEvents calls for a page after the first get
        ThrottlingException; 6 outlast a client's five retries.
    output_on_failure: whether a failed job's output.tar.gz is uploaded (unknown on real AWS).
    missing_outputs: how many completed jobs leave no output.tar.gz.
    missing_results: how many completed jobs leave an output.tar.gz without result.json.
    missing_copies: how many completed jobs leave no result.json among their checkpoints.
    clock_skew: seconds that the clock of all services is ahead of this machine's.
    """

    throttle: dict[str, int] = field(default_factory=dict)
    quotas: dict[str | Where, int] = field(default_factory=dict)
    warm_quotas: dict[str, int] = field(default_factory=dict)
    capacity_errors: int = 0
    no_capacity_for: set[Where] = field(default_factory=set)
    fail_puts: int = 0
    fail_gets: int = 0
    deny_puts: bool = False
    truncated_gets: int = 0
    slow_gets: float = 0.0
    lost_answers: int = 0
    lost_stops: int = 0
    deaf_stops: int = 0
    ignored_stops: int = 0
    stop_grace: float | None = None
    spot_warning: float = 2.0
    log_delay: float = 0.0
    empty_pages: int = 0
    throttled_pages: int = 0
    output_on_failure: bool = True
    missing_outputs: int = 0
    missing_results: int = 0
    missing_copies: int = 0
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

    def take(self, counter: str) -> bool:
        """Whether this one is among those that the field `counter` counts."""
        with self._lock:
            left = getattr(self, counter)
            if left > 0:
                setattr(self, counter, left - 1)
            return bool(left != 0)

    def described(self) -> dict[str, Any]:
        """All fields in what JSON has: a Where reads region/type/True."""
        found = asdict(self)
        found["quotas"] = {_name(key): value for key, value in self.quotas.items()}
        found["no_capacity_for"] = sorted(map(_name, self.no_capacity_for))
        return found


def _name(where: str | Where) -> str:
    return where if isinstance(where, str) else "/".join(map(str, where))
