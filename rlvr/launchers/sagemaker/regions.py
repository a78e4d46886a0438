"""The AWS regions of a sweep, each with its clients and its bucket, connected when first used."""

from functools import cached_property

from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import SageMakerSettings
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import TrainingJob


class Regions:
    """`home` is the first region, where the sweep's record is kept; a `dry` one uploads nothing.

    Raises UserError for a region that there is not.
    """

    def __init__(self, settings: SageMakerSettings, *, dry: bool = False) -> None:
        self.settings, self.dry = settings, dry
        first = Service.connect(settings.region)
        self.home = first.region
        self._services = {first.region: first}
        self._storages: dict[tuple[str, str], Storage] = {}

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([self.home, *self.settings.regions]))

    @cached_property
    def account(self) -> str:
        return self.service(self.home).account

    def service(self, region: str) -> Service:
        if region not in self._services:
            self._services[region] = Service.connect(region)
        return self._services[region]

    def bucket(self, region: str) -> str:
        """SageMaker reads a job's data from buckets of its own region alone."""
        named = self.settings.bucket
        return named.format(region=region) if named else f"sagemaker-{region}-{self.account}"

    def storage(self, region: str, bucket: str | None = None) -> Storage:
        place = (region, bucket or self.bucket(region))
        if place not in self._storages:
            self._storages[place] = Storage(
                self.service(region),
                place[1],
                self.settings.prefix,
                self.settings.kms_key,
                dry=self.dry,
            )
        return self._storages[place]

    def of(self, training: TrainingJob) -> tuple[Service, Storage]:
        """Where a job is, which an earlier configuration may have put elsewhere."""
        return self.service(training.region), self.storage(training.region, training.bucket)

    def reconnect(self) -> None:
        """Read the credentials anew: somebody may have logged in again."""
        for service in self._services.values():
            service.reconnect()
