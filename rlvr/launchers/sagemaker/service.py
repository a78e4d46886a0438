"""The AWS clients of one region, and what their errors mean for a job."""

import logging
import os
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any

from rlvr.errors import UserError, nearest

BUSY = {
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "SlowDown",
    "ServiceUnavailable",
    "InternalFailure",
    "InternalServerError",
    "InternalError",
    "503",
    "500",
}
EXPIRED = {
    *("ExpiredToken", "ExpiredTokenException", "RequestExpired", "UnrecognizedClientException"),
    *("UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError"),
    *("CredentialRetrievalError", "LoginRefreshRequired"),
}
QUOTA = "ResourceLimitExceeded"
IN_USE = "ResourceInUse"
GROUP = "/aws/sagemaker/TrainingJobs"


@dataclass
class Service:
    """Boto3 clients with the SDK's retries; clients are made in one thread only."""

    region: str
    _ahead: float = 0.0  # seconds

    @classmethod
    def connect(cls, region: str | None) -> "Service":
        """Raises UserError where no region is configured, or one that there is not."""
        import boto3

        for noisy in ("sagemaker", "botocore", "boto3", "urllib3", "s3transfer"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        # the service itself refuses a wrong role; the SDK's own check costs three IAM calls
        os.environ.setdefault("SAGEMAKER_VALIDATE_ROLE", "false")
        # botocore itself reads AWS_DEFAULT_REGION only
        found = region or os.environ.get("AWS_REGION") or boto3.Session().region_name
        if not found:
            raise UserError(
                "no AWS region: set launcher.region=us-east-1 (or yours), AWS_REGION, or a region "
                "in ~/.aws/config"
            )
        session = boto3.Session()
        known = [
            name
            for partition in session.get_available_partitions()
            for name in session.get_available_regions("sagemaker", partition)
        ]
        if found not in known:
            raise UserError(
                f"launcher.region={found}: AWS has no SageMaker in a region of this name that the "
                f"installed boto3 knows of{nearest(found, known)}"
            )
        return cls(found)

    @cached_property
    def session(self) -> Any:
        import boto3

        return boto3.Session(region_name=self.region)

    @cached_property
    def sagemaker(self) -> Any:
        return self._client("sagemaker")

    @cached_property
    def s3(self) -> Any:
        return self._client("s3")

    @cached_property
    def logs(self) -> Any:
        return self._client("logs")

    @cached_property
    def account(self) -> str:
        return str(self._client("sts").get_caller_identity()["Account"])

    def _client(self, service: str) -> Any:
        from botocore.config import Config

        # the loop is single-threaded: a call that hangs must not hold up the other jobs for long
        config = Config(
            retries={"mode": "standard", "max_attempts": 5}, connect_timeout=10, read_timeout=30
        )
        return self.session.client(service, config=config)

    def describe(self, name: str) -> dict[str, Any] | None:
        """DescribeTrainingJob, or None for a job that does not exist."""
        from botocore.exceptions import ClientError

        try:
            found: dict[str, Any] = self.sagemaker.describe_training_job(TrainingJobName=name)
        except ClientError as error:
            message = error.response["Error"]["Message"]
            missing = "not found" in message or "does not exist" in message
            if code(error) == "ResourceNotFound" or (
                code(error) == "ValidationException" and missing
            ):
                return None
            raise
        self._told_the_time(found)
        return found

    def now(self) -> float:
        """By the service's clock, which the times it tells are by; this machine's may be wrong."""
        return time.time() + self._ahead

    def _told_the_time(self, answer: dict[str, Any]) -> None:
        date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
        if date:
            self._ahead = parsedate_to_datetime(date).timestamp() - time.time()

    def reconnect(self) -> None:
        """Read the credentials anew: somebody may have logged in again."""
        for made in ("session", "sagemaker", "s3", "logs", "account"):
            self.__dict__.pop(made, None)

    def create(self, request: dict[str, Any]) -> None:
        """CreateTrainingJob, of which a lost answer may be asked for again."""
        from botocore.exceptions import ClientError

        try:
            self.sagemaker.create_training_job(**request)
        except ClientError as error:
            # nobody else has this name: an earlier try of this very call got through
            if code(error) != IN_USE:
                raise

    def stop(self, name: str) -> bool:
        """Ask the job to stop; False when it had ended already."""
        from botocore.exceptions import ClientError

        try:
            self.sagemaker.stop_training_job(TrainingJobName=name)
        except ClientError as error:
            if code(error) == "ValidationException":
                return False
            raise
        return True

    def release(self, name: str) -> None:
        """Give back the instance that is kept, and paid for, after the job."""
        self.sagemaker.update_training_job(
            TrainingJobName=name, ResourceConfig={"KeepAlivePeriodInSeconds": 0}
        )

    def search(self, tag: str, value: str | None = None) -> list[dict[str, Any]]:
        """All training jobs with this tag, newest first."""
        test = {"Operator": "Exists"} if value is None else {"Operator": "Equals", "Value": value}
        expression = {"Filters": [{"Name": f"Tags.{tag}", **test}]}
        pages = self.sagemaker.get_paginator("search").paginate(
            Resource="TrainingJob", SearchExpression=expression
        )
        jobs = [result["TrainingJob"] for page in pages for result in page["Results"]]
        return sorted(jobs, key=lambda job: str(job["CreationTime"]), reverse=True)

    def console(self, name: str) -> str:
        return (
            f"https://{self.region}.console.aws.amazon.com/sagemaker/home?region={self.region}"
            f"#/jobs/{name}"
        )

    def stop_command(self, name: str) -> str:
        return f"aws sagemaker stop-training-job --region {self.region} --training-job-name {name}"


def code(error: Any) -> str:
    return str(error.response["Error"]["Code"])


def is_busy(error: Exception) -> bool:
    """Whether the same call may well succeed later: throttled, overloaded or cut off."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return code(error) in BUSY or status >= 500
    return isinstance(error, BotoCoreError) and not isinstance(error, NoCredentialsError)


def is_expired(error: Exception) -> bool:
    """Whether somebody has to log in again; what was asked for may be right all the same."""
    name = code(error) if hasattr(error, "response") else type(error).__name__
    return name in EXPIRED


def is_unsure(error: Exception) -> bool:
    """Whether the request may have been carried out: its answer was lost, or an internal error."""
    status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return bool(status >= 500)


def aws_errors() -> tuple[type[Exception], ...]:
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (ClientError, BotoCoreError, Boto3Error)


def explain(error: Exception) -> str:
    """One line for the user, with what to do about the usual causes."""
    from botocore.exceptions import ClientError, NoCredentialsError

    if isinstance(error, NoCredentialsError):
        return "no AWS credentials: run `aws configure` or `aws sso login`, or set AWS_PROFILE"
    if not isinstance(error, ClientError):
        return f"{type(error).__name__}: {error}"
    hints = {
        "AccessDeniedException": " (see the IAM policies in docs/sagemaker.md)",
        "AccessDenied": " (see the IAM policies in docs/sagemaker.md)",
        "ExpiredTokenException": " (log in again, then resume the sweep with launcher.resume=last)",
        "ExpiredToken": " (log in again, then resume the sweep with launcher.resume=last)",
        "NoSuchBucket": " (create it, or set launcher.bucket)",
        "404": " (create it, or set launcher.bucket)",
        "403": " (it belongs to someone else, or the policy in docs/sagemaker.md is missing)",
        QUOTA: " (ask for more in Service Quotas)",
    }
    message = error.response["Error"]["Message"]
    hint = hints.get(code(error), "")
    if "warm pool" in message:
        hint = " (ask for more in Service Quotas, or set launcher.warm_pool=0)"
    return f"{code(error)}: {message}{hint}"
