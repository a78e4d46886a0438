"""SageMaker training jobs on this machine, without an AWS account, in as many regions as asked for.

moto answers S3, CloudWatch Logs, IAM, STS, SNS and Secrets Manager. Training jobs are ours and
really run: channels are downloaded, the request's own entrypoint runs as PID 1 of a PID namespace
with /opt/ml, StopTrainingJob sends SIGTERM and then SIGKILL, spot jobs can be interrupted,
artifacts and checkpoints land on S3, logs in CloudWatch. See `faults.Faults` for what can go wrong.

As a developer tool:

    python tests/sagemaker_emulator --port 5555 --bucket my-bucket      # prints the exports
    curl -s localhost:5555/_emulator                                    # jobs, calls, faults
    curl -X POST localhost:5555/_emulator/interrupt/JOB                 # reclaim a spot instance
    curl -X POST localhost:5555/_emulator/faults -d '{"quotas": {"ml.g6.xlarge": 2}}'

In a test:

    with Emulator() as emulator:
        subprocess.run([...], env=os.environ | emulator.env())

Jobs can also be pretended: nothing runs, a seed decides what becomes of each, and hundreds are
alive at once. What a launcher says of them can be held against the ledger:

    with Emulator(pretend=Pretend(seed=1, tag="rlvr.index", speed=60)) as emulator:
        ...
        ledger = emulator.ledger()
        assert not ledger.alive and not ledger.warm
        ledger.bill().instance_seconds      # {("us-east-1", "ml.g6.xlarge"): 1234}

Needs root (overlay of /, best), or bubblewrap, or unprivileged user namespaces; the first that
works is used, and none for pretended jobs. Not faithful, because unknown or out of reach: the exact
wording of failures, image contents, GPUs, IAM, how late S3 and CloudWatch are, the signal of a spot
reclaim, which phases of a job are billed.
"""

from .faults import Faults
from .job import Job
from .ledger import Bill, Entry, Ledger
from .pretend import Course, Ending, Pretend
from .sandbox import WHY_NOT, available_mode
from .server import BUCKET, REGION, ROLE, Emulator

__all__ = [
    "BUCKET",
    "REGION",
    "ROLE",
    "WHY_NOT",
    "Bill",
    "Course",
    "Emulator",
    "Ending",
    "Entry",
    "Faults",
    "Job",
    "Ledger",
    "Pretend",
    "available_mode",
]
