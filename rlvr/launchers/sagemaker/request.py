"""CreateTrainingJob requests for the jobs of a sweep; what they share is uploaded once."""

from dataclasses import dataclass, field
from typing import Any

from rlvr.launchers.sagemaker import packing, payload, sdk_container
from rlvr.launchers.sagemaker.constraints import check_request
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.settings import Settings
from rlvr.launchers.sagemaker.storage import Storage
from rlvr.launchers.sagemaker.training_job import (
    INDEX_TAG,
    SWEEP_TAG,
    Submission,
    TrainingJob,
    job_name,
    tag_value,
)
from rlvr.paths import PROJECT

CHECKPOINTS = "/opt/ml/checkpoints"
TAGS = {"source.job": "grpo-rlvr", "source.type": "hydra-sweep", "source.framework": "rlvr"}


@dataclass
class RequestBuilder:
    """Builds the requests of one sweep, on one service and bucket.

    `tracked` says that its jobs write to MLflow themselves.
    """

    service: Service
    storage: Storage
    sweep_id: str
    tracked: bool = False
    _codes: dict[tuple[str | None, str], str] = field(default_factory=dict)

    def pack(self, submission: Submission) -> packing.Archive | None:
        """Pack and upload the code that the job asks for; None if that has been done."""
        if self._code_kind(submission) in self._codes:
            return None
        requirements, _ = kind = self._code_kind(submission)
        settings = submission.settings
        extra = {} if requirements is None else {sdk_container.REQUIREMENTS: requirements}
        archive = packing.pack(
            PROJECT, exclude=settings.exclude, extra=extra, max_mb=settings.max_code_mb
        )
        self._codes[kind] = self.storage.put_once("code", {sdk_container.CODE: archive.data})
        return archive

    def _code_kind(self, submission: Submission) -> tuple[str | None, str]:
        """The requirements of a job, and what is left out of its code."""
        trainer = submission.config.get("trainer") or {}
        requirements = packing.requirements(
            submission.settings,
            tracked=self.tracked,
            deepspeed=str(trainer.get("distributed")).startswith("zero"),
        )
        return requirements, str(submission.settings.exclude)

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
        )

    def build(
        self,
        submission: Submission,
        training: TrainingJob,
        module: str,
        environment: dict[str, str],
    ) -> dict[str, Any]:
        """The checked request for `training`, which runs `python -m module`.

        Uploads what is the job's own, and the code and the SDK's driver files where they are not
        there yet; raises UserError for what the service would refuse.
        """
        settings = submission.settings
        container = sdk_container.container(
            self.service, self.storage.bucket, settings, training.instance_type
        )
        training.image = container.algorithm["TrainingImage"]
        channels = self._channels(submission, training, module, container.drivers)
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
            **_machine(settings, training),
            **_network(settings),
        }
        check_request(request, self.service.sagemaker.meta.service_model)
        return request

    def _channels(
        self, submission: Submission, training: TrainingJob, module: str, drivers: dict[str, str]
    ) -> dict[str, str]:
        """Names to URIs, with everything uploaded."""
        self.pack(submission)
        key = training.job_key.removeprefix(self.storage.prefix).strip("/")
        files = {name: text.encode() for name, text in drivers.items()}
        return {
            sdk_container.CHANNEL: self.storage.put_once("drivers", files),
            "code": self._codes[self._code_kind(submission)],
            **payload.upload(
                submission.job.directory, module, self.storage, key, tracked=self.tracked
            ),
        }

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


def _machine(settings: Settings, training: TrainingJob) -> dict[str, Any]:
    """Instances, and how long they may run."""
    resources: dict[str, Any] = {
        "InstanceType": training.instance_type,
        "InstanceCount": settings.instance_count,
        "VolumeSizeInGB": settings.volume_gb,
    }
    if settings.volume_kms_key:
        resources["VolumeKmsKeyId"] = settings.volume_kms_key
    stopping = {"MaxRuntimeInSeconds": settings.max_runtime}
    if settings.spot:
        stopping["MaxWaitTimeInSeconds"] = settings.wait_limit
    elif settings.warm_pool:
        resources["KeepAlivePeriodInSeconds"] = settings.warm_pool
    spot = {"EnableManagedSpotTraining": True} if settings.spot else {}
    return {"ResourceConfig": resources, "StoppingCondition": stopping, **spot}


def _network(settings: Settings) -> dict[str, Any]:
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


def _environment(settings: Settings, added: dict[str, str]) -> dict[str, str]:
    several = settings.multi_node_environment if settings.instance_count > 1 else {}
    # the ARN, not the secret: the container fetches it with its own role
    token = {"RLVR_HF_TOKEN_ARN": settings.hf_token_secret} if settings.hf_token_secret else {}
    return {**several, **settings.environment, **token, **added}
