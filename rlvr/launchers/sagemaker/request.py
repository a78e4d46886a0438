"""CreateTrainingJob requests for the jobs of a sweep; what they share is uploaded once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import packing, payload, requirements, sdk_container
from rlvr.launchers.sagemaker.constraints import check_machine, check_request
from rlvr.launchers.sagemaker.instances import has_local_storage
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import SageMakerSettings
from rlvr.launchers.sagemaker.storage import Storage, Tree
from rlvr.launchers.sagemaker.training_job import (
    INDEX_TAG,
    SWEEP_TAG,
    Submission,
    TrainingJob,
    job_name,
    tag_value,
)
from rlvr.paths import PROJECT
from rlvr.secret_patterns import data_problem

CHECKPOINTS = "/opt/ml/checkpoints"
TAGS = {"source.job": "grpo-rlvr", "source.type": "hydra-sweep", "source.framework": "rlvr"}


# As long as a sweep's own, for requests that are checked before the sweep has one.
NO_SWEEP = "00000000-000000-0000"


@dataclass
class RequestBuilder:
    """Builds the requests of one sweep, on one service and bucket.

    `tracked` says that its jobs write to MLflow themselves, `ships_config` that they run on a
    config whose local files travel with them. Nothing is uploaded but by `upload_*`.
    """

    service: Service
    storage: Storage
    sweep_id: str = NO_SWEEP
    tracked: bool = False
    ships_config: bool = True
    _codes: dict[str, packing.Archive] = field(default_factory=dict)
    _trees: dict[Path | str, Tree] = field(default_factory=dict)

    def check(self, submissions: Sequence[Submission]) -> None:
        """Build every request, on every instance type it may be sent with.

        Raises UserError with all that would be refused, by the service or by us.
        """
        problems: dict[str, list[str]] = {}
        for submission in submissions:
            for kind in submission.instance_types:
                training = replace(self.training_job(submission), name="check", instance_type=kind)
                try:
                    self.build(submission, training, submission.environment)
                except UserError as error:
                    labels = problems.setdefault(str(error), [])
                    labels += [label for label in [submission.job.label] if label not in labels]
        if problems:
            lines = [f"job {'; '.join(jobs)}: {why}" for why, jobs in problems.items()]
            raise UserError("nothing was uploaded or started:\n" + "\n".join(lines))

    def code(self, submission: Submission, instance: str | None = None) -> packing.Archive:
        """What the job asks for: its requirements, and the code without what it leaves out."""
        settings = submission.settings
        needed = self._requirements(submission, instance or submission.instance_type)
        kind = f"{needed} {settings.exclude} {settings.max_code_mb}"
        if kind not in self._codes:
            self._codes[kind] = packing.pack(
                PROJECT, exclude=settings.exclude, extra=needed, max_mb=settings.max_code_mb
            )
        return self._codes[kind]

    def _requirements(self, submission: Submission, instance: str) -> dict[str, str]:
        trainer = submission.config.get("trainer") or {}
        return requirements.requirements(
            submission.settings,
            tracked=self.tracked,
            deepspeed=str(trainer.get("distributed")).startswith("zero"),
            image=self._container(submission, instance).algorithm["TrainingImage"],
        )

    def _container(self, submission: Submission, instance: str) -> sdk_container.SdkContainer:
        bucket = self.storage.bucket
        return sdk_container.container(self.service, bucket, submission.settings, instance)

    def _shared(self, submission: Submission, instance: str) -> dict[str, tuple[str, Tree]]:
        """What jobs share: the kind and the files of each channel. Each tree is read once."""
        drivers = self._container(submission, instance).drivers
        archive = self.code(submission, instance)
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

    def upload_shared(self, submission: Submission) -> None:
        """Code, drivers and local data, each once per content."""
        for kind, tree in self._shared(submission, submission.instance_type).values():
            self.storage.put_once(kind, tree)

    def upload_own(self, submission: Submission, training: TrainingJob, module: str) -> None:
        """The files of the job's own channel."""
        answers = {
            "bucket": self.storage.bucket,
            "prefix": self.storage.key(payload.ANSWERS),
            "kms_key": self.storage.kms_key,
        }
        directory = submission.job.directory
        own = payload.files(directory, module, tracked=self.tracked, answers=answers)
        for name, body in own.items():
            self.storage.put(f"{training.job_key}/input/{name}", body)

    def training_job(self, submission: Submission) -> TrainingJob:
        """A new one for the job, under a name never used before.

        Those of the same config share their place on S3, and so their checkpoints.
        """
        job, settings = submission.job, submission.settings
        return TrainingJob(
            name=job_name(settings.project, self.sweep_id, job.index),
            region=self.service.region,
            bucket=self.storage.bucket,
            job_key=self.storage.key("sweeps", self.sweep_id, f"{job.index:03d}-{job.hash[:8]}"),
            instance_type=submission.instance_type,
            instance_count=settings.instance_count,
            spot=settings.spot,
            prices=settings.prices,
            tracked=self.tracked,
            volume_gb=0 if has_local_storage(submission.instance_type) else settings.volume_gb,
            most=submission.highest_cost,
        )

    def build(
        self, submission: Submission, training: TrainingJob, environment: dict[str, str]
    ) -> dict[str, Any]:
        """The request for `training`; UserError for what the service would refuse."""
        settings, model = submission.settings, self.service.sagemaker.meta.service_model
        check_machine(training.instance_type, settings, model)
        container = self._container(submission, training.instance_type)
        training.image = container.algorithm["TrainingImage"]
        shared = self._shared(submission, training.instance_type)
        channels = {name: self.storage.place(*at) for name, at in shared.items()}
        channels[payload.CHANNEL] = f"s3://{training.bucket}/{training.job_key}/input/"
        base = f"s3://{training.bucket}/{training.job_key}"
        output = {"S3OutputPath": f"{base}/output", "CompressionType": "GZIP"}
        if settings.kms_key:
            output["KmsKeyId"] = settings.kms_key
        request = {
            "TrainingJobName": training.name,
            "RoleArn": settings.role,
            "AlgorithmSpecification": container.algorithm,
            "InputDataConfig": [_channel(*item) for item in channels.items()],
            "OutputDataConfig": output,
            "CheckpointConfig": {"S3Uri": f"{base}/checkpoints", "LocalPath": CHECKPOINTS},
            "Environment": _environment(settings, environment),
            "Tags": self._tags(submission),
            **_machine(submission, training),
            **_network(settings),
        }
        check_request(request, model)
        return request

    def _tags(self, submission: Submission) -> list[dict[str, str]]:
        job = submission.job
        own = {SWEEP_TAG: self.sweep_id, INDEX_TAG: str(job.index)}
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


def _machine(submission: Submission, training: TrainingJob) -> dict[str, Any]:
    """Instances, and how long they may run."""
    settings = submission.settings
    resources: dict[str, Any] = {
        "InstanceType": training.instance_type,
        "InstanceCount": settings.instance_count,
        "VolumeSizeInGB": settings.volume_gb,
    }
    if settings.volume_kms_key:
        resources["VolumeKmsKeyId"] = settings.volume_kms_key
    stopping = {"MaxRuntimeInSeconds": submission.seconds_left}
    if settings.spot:
        stopping["MaxWaitTimeInSeconds"] = settings.wait_limit
    elif settings.warm_pool:
        resources["KeepAlivePeriodInSeconds"] = settings.warm_pool
    spot = {"EnableManagedSpotTraining": True} if settings.spot else {}
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
    return {**several, **settings.environment, **token, **added}
