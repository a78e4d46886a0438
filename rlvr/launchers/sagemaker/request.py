"""CreateTrainingJob requests for the jobs of a sweep; what they share is uploaded once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import packing, payload, requirements, sdk_container
from rlvr.launchers.sagemaker.constraints import check_machine, check_request
from rlvr.launchers.sagemaker.places import Place
from rlvr.launchers.sagemaker.regions import Regions
from rlvr.launchers.sagemaker.settings import SageMakerSettings
from rlvr.launchers.sagemaker.storage import Tree
from rlvr.launchers.sagemaker.training_job import (
    INDEX_TAG,
    SWEEP_TAG,
    Ready,
    Submission,
    TrainingJob,
    job_name,
    tag_value,
)
from rlvr.paths import PROJECT
from rlvr.secret_patterns import data_problem, is_secret
from rlvr.sweep.notify import TOPIC

CHECKPOINTS = "/opt/ml/checkpoints"
TAGS = {"source.job": "grpo-rlvr", "source.type": "hydra-sweep", "source.framework": "rlvr"}


# As long as a sweep's own, for requests that are checked before the sweep has one.
NO_SWEEP = "00000000-000000-0000"


@dataclass
class RequestBuilder:
    """Builds the requests of one sweep, for every place that its jobs may run at.

    `tracked` says that its jobs write to MLflow themselves, `ships_config` that they run on a
    config whose local files travel with them. Nothing is uploaded but by `upload_shared`.
    """

    regions: Regions
    sweep_id: str = NO_SWEEP
    tracked: bool = False
    ships_config: bool = True
    git: dict[str, Any] | None = None
    _codes: dict[str, packing.Archive] = field(default_factory=dict)
    _trees: dict[Path | str, Tree] = field(default_factory=dict)

    def check(self, submissions: Sequence[Submission]) -> None:
        """Build every request. Raises UserError with all that the service or we would refuse."""
        problems: dict[str, list[str]] = {}
        for submission in submissions:
            for place in submission.places:
                try:
                    self.build(submission, place, submission.environment)
                except UserError as error:
                    labels = problems.setdefault(str(error), [])
                    labels += [label for label in [submission.job.label] if label not in labels]
        if problems:
            lines = [f"job {'; '.join(jobs)}: {why}" for why, jobs in problems.items()]
            raise UserError("nothing was uploaded or started:\n" + "\n".join(lines))

    def make_ready(self, submission: Submission, module: str, environment: dict[str, str]) -> None:
        """All that it takes to start the job, from this machine or another. `module` runs it."""
        submission.ready = [
            self.build(submission, place, environment) for place in submission.places
        ]
        home = self.regions.storage(self.regions.home)
        answers = {
            "bucket": home.bucket,
            "region": self.regions.home,
            "prefix": home.key(payload.ANSWERS),
            "kms_key": home.kms_key,
        }
        directory = submission.job.directory
        submission.files = payload.files(directory, module, tracked=self.tracked, answers=answers)

    def code(self, submission: Submission, place: Place) -> packing.Archive:
        """What the job asks for: its requirements, and the code without what it leaves out."""
        settings = submission.settings
        needed = self._requirements(submission, place)
        kind = f"{needed} {settings.exclude} {settings.max_code_mb}"
        if kind not in self._codes:
            self._codes[kind] = packing.pack(
                PROJECT, exclude=settings.exclude, extra=needed, max_mb=settings.max_code_mb
            )
        return self._codes[kind]

    def _requirements(self, submission: Submission, place: Place) -> dict[str, str]:
        trainer = submission.config.get("trainer") or {}
        return requirements.requirements(
            submission.settings,
            tracked=self.tracked,
            deepspeed=str(trainer.get("distributed")).startswith("zero"),
            image=self._container(submission, place).algorithm["TrainingImage"],
        )

    def _container(self, submission: Submission, place: Place) -> sdk_container.SdkContainer:
        service, bucket = self.regions.service(place.region), self.regions.bucket(place.region)
        return sdk_container.container(service, bucket, submission.settings, place.instance_type)

    def _shared(self, submission: Submission, place: Place) -> dict[str, tuple[str, Tree]]:
        """What jobs share: the kind and the files of each channel. Each tree is read once."""
        drivers = self._container(submission, place).drivers
        archive = self.code(submission, place)
        found = {
            sdk_container.CHANNEL: ("drivers", self._tree(json.dumps(drivers), drivers)),
            "code": ("code", self._tree(archive.digest, {sdk_container.CODE: archive.data})),
        }
        local = payload.sources(submission.config) if self.ships_config else {}
        return found | {name: ("data", self._local_tree(path)) for name, path in local.items()}

    def _tree(self, key: str, files: Mapping[str, str | bytes]) -> Tree:
        if key not in self._trees:
            encoded = {n: b.encode() if isinstance(b, str) else b for n, b in files.items()}
            self._trees[key] = Tree.of(encoded)
        return self._trees[key]

    def _local_tree(self, path: Path) -> Tree:
        if path not in self._trees:
            tree = self._trees[path] = Tree.at(path)
            found = [data_problem(n, b) for n, b in tree.files.items() if isinstance(b, Path)]
            if problems := list(filter(None, found)):
                raise UserError(
                    f"nothing was uploaded, because files below {path} look like secrets; move "
                    "them away:\n  " + "\n  ".join(problems)
                )
        return self._trees[path]

    def upload_shared(self, submission: Submission, place: Place) -> None:
        """Code, drivers and local data, each once per content and region."""
        storage = self.regions.storage(place.region)
        for kind, tree in self._shared(submission, place).values():
            storage.put_once(kind, tree)

    def _training_job(self, submission: Submission, place: Place) -> TrainingJob:
        """Those of the same config share their folder on S3, and so their checkpoints."""
        job, settings = submission.job, submission.settings
        storage = self.regions.storage(place.region)
        hourly, hourly_disks = submission.hourly(place) or (None, 0.0)
        return TrainingJob(
            name=job_name(settings.project, self.sweep_id, job),
            region=place.region,
            bucket=storage.bucket,
            job_key=storage.key("sweeps", self.sweep_id, f"{job.index:03d}-{job.hash[:8]}"),
            instance_type=place.instance_type,
            instance_count=settings.instance_count,
            spot=place.spot,
            image=self._container(submission, place).algorithm["TrainingImage"],
            hourly=hourly,
            hourly_disks=hourly_disks,
            pool=bool(settings.warm_pool) and not place.spot,
            tracked=self.tracked,
            git=self.git,
        )

    def build(self, submission: Submission, place: Place, environment: dict[str, str]) -> Ready:
        """The request for one place; UserError for what the service would refuse."""
        settings, training = submission.settings, self._training_job(submission, place)
        model = self.regions.service(place.region).sagemaker.meta.service_model
        check_machine(place.instance_type, settings, model)
        container, storage = self._container(submission, place), self.regions.storage(place.region)
        shared = self._shared(submission, place)
        channels = {name: storage.place(*at) for name, at in shared.items()}
        base = f"s3://{training.bucket}/{training.job_key}"
        channels[payload.CHANNEL] = f"{base}/input/"
        output = {"S3OutputPath": f"{base}/output", "CompressionType": "GZIP"}
        if settings.kms_key:
            output["KmsKeyId"] = settings.kms_key
        request = {
            "TrainingJobName": f"{training.name}-1",
            "RoleArn": settings.role,
            "AlgorithmSpecification": container.algorithm,
            "InputDataConfig": [_channel(*item) for item in channels.items()],
            "OutputDataConfig": output,
            "CheckpointConfig": {"S3Uri": f"{base}/checkpoints", "LocalPath": CHECKPOINTS},
            "Environment": _environment(settings, environment),
            "Tags": self._tags(submission),
            **_machine(submission, place),
            **_network(settings),
        }
        check_request(request, model)
        return Ready(place, training, request)

    def _tags(self, submission: Submission) -> list[dict[str, str]]:
        job = submission.job
        own = {SWEEP_TAG: self.sweep_id, INDEX_TAG: str(job.index)}
        for override in job.overrides:  # of a task function of one's own nothing else looks at them
            key, _, value = override.lstrip("+~").replace("\\", "").partition("=")
            if is_secret(key, value.strip("'\"")):
                raise UserError(f"{key} holds a password or token, which a tag would show")
        own["rlvr.overrides"] = " ".join(job.overrides)
        tags = {**TAGS, **submission.settings.tags, **own}
        return [{"Key": key[:128], "Value": tag_value(value)} for key, value in tags.items()]


def _channel(name: str, uri: str) -> dict[str, Any]:
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": uri,
        "S3DataDistributionType": "FullyReplicated",
    }
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}


def _machine(submission: Submission, place: Place) -> dict[str, Any]:
    """Instances, and how long they may run."""
    settings = submission.settings
    resources: dict[str, Any] = {
        "InstanceType": place.instance_type,
        "InstanceCount": settings.instance_count,
        "VolumeSizeInGB": settings.volume_gb,
    }
    if settings.volume_kms_key:
        resources["VolumeKmsKeyId"] = settings.volume_kms_key
    stopping = {"MaxRuntimeInSeconds": submission.seconds_left}
    if place.spot:
        stopping["MaxWaitTimeInSeconds"] = settings.wait_limit
    elif settings.warm_pool:
        resources["KeepAlivePeriodInSeconds"] = settings.warm_pool
    spot = {"EnableManagedSpotTraining": True} if place.spot else {}
    return {"ResourceConfig": resources, "StoppingCondition": stopping, **spot}


def _network(settings: SageMakerSettings) -> dict[str, Any]:
    network: dict[str, Any] = {}
    if settings.subnets:
        network["VpcConfig"] = {
            "Subnets": settings.subnets,
            "SecurityGroupIds": settings.security_groups,
        }
    if settings.network_isolation:
        network["EnableNetworkIsolation"] = True
    if settings.encrypt_traffic:
        network["EnableInterContainerTrafficEncryption"] = True
    return network


def _environment(settings: SageMakerSettings, added: dict[str, str]) -> dict[str, str]:
    several = settings.multi_node_environment if settings.instance_count > 1 else {}
    # the ARN, not the secret: the container fetches it with its own role
    token = {"RLVR_HF_TOKEN_ARN": settings.hf_token_secret} if settings.hf_token_secret else {}
    # where nobody watches, the job itself says that it has ended
    topic = settings.notify if settings.detach and TOPIC.fullmatch(settings.notify or "") else None
    told = {"RLVR_NOTIFY_TOPIC": topic} if topic else {}
    return {**several, **settings.environment, **token, **told, **added}
