"""Every job there has been, and what it truly costs: the book that a launcher is held against."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from .job import Job
from .validation import has_local_storage


@dataclass(frozen=True)
class Entry:
    """One training job, as it stands at the moment of the ledger.

    training_seconds: on an instance, of all lives. billed_seconds: what AWS bills of them, less
    for spot. idle_seconds: billed too, while its instances waited for a next job. All three are of
    each of its `instances`. Times are by the service's clock, without the skew of the faults.
    """

    name: str
    region: str
    tags: dict[str, str]
    instance_type: str
    instances: int
    spot: bool
    volume_gb: int  # bought for each instance, so 0 where its disks are its own
    created: float
    started: float | None
    ended: float | None
    status: str
    secondary: str
    failure_reason: str
    lives: int
    training_seconds: int
    billed_seconds: int
    idle_seconds: int
    alive: bool
    warm: bool  # its instances wait, billed

    @classmethod
    def of(cls, job: Job) -> "Entry":
        bought = job.request["ResourceConfig"].get("VolumeSizeInGB", 0)
        alive = job.live
        return cls(
            name=job.name,
            region=job.machine.region,
            tags=dict(job.tags),
            instance_type=job.instance_type,
            instances=job.instances,
            spot=job.spot,
            volume_gb=0 if has_local_storage(job.instance_type) else bought,
            created=job.created,
            started=job.started,
            ended=None if alive else job.ended,
            status=job.status,
            secondary=job.secondary,
            failure_reason=job.failure_reason,
            lives=job.starts,
            training_seconds=round(job.training_seconds),
            billed_seconds=job.billable_seconds,
            idle_seconds=round(job.idle_seconds),
            alive=alive,
            warm=job.warm,
        )

    @property
    def instance_seconds(self) -> int:
        """What is billed at the instance's on-demand price, spot's discount taken off already."""
        return (self.billed_seconds + self.idle_seconds) * self.instances

    @property
    def volume_gb_seconds(self) -> int:
        """A volume is there for as long as its instance, and spot makes it no cheaper."""
        return (self.training_seconds + self.idle_seconds) * self.instances * self.volume_gb


@dataclass(frozen=True)
class Bill:
    """Seconds of instances by (region, instance type), and GB-seconds of volumes by region."""

    instance_seconds: dict[tuple[str, str], int]
    volume_gb_seconds: dict[str, int]


@dataclass(frozen=True)
class Ledger:
    """In the order in which the jobs were created; deleted ones are in it too."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> "Ledger":
        return cls(tuple(sorted(map(Entry.of, jobs), key=lambda entry: entry.created)))

    @property
    def alive(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.alive]

    @property
    def warm(self) -> list[Entry]:
        """Those that have ended and are billed all the same."""
        return [entry for entry in self.entries if entry.warm]

    def tagged(self, key: str, value: str | None = None) -> "Ledger":
        """Those with this tag, whatever its value where none is given."""
        found = (e for e in self.entries if key in e.tags and value in (None, e.tags[key]))
        return Ledger(tuple(found))

    def bill(self) -> Bill:
        """So far, of all of them."""
        instances: Counter[tuple[str, str]] = Counter()
        volumes: Counter[str] = Counter()
        for entry in self.entries:
            instances[entry.region, entry.instance_type] += entry.instance_seconds
            volumes[entry.region] += entry.volume_gb_seconds
        return Bill(dict(instances), dict(volumes))
