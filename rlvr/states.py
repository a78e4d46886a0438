"""The states of a job: one enum, and the words that MLflow, Slurm and SageMaker have for them."""

from enum import StrEnum


class State(StrEnum):
    pending = "pending"
    running = "running"
    finished = "finished"
    failed = "failed"
    pruned = "pruned"  # ended early as hopeless, with its reason: docs/sweeps.md
    killed = "killed"  # from outside: Ctrl-C, a signal, a time limit
    lost = "lost"  # it should run, but nobody has it any more

    @property
    def mlflow(self) -> str:
        """The status of the job's MLflow run."""
        return WORDS[self][0]

    @property
    def ended(self) -> bool:
        return self not in (State.pending, State.running)

    @property
    def complete(self) -> bool:
        """Is nothing of it left to run?"""
        return self in (State.finished, State.pruned)

    @classmethod
    def of_slurm(cls, word: str) -> "State":
        """`word` as sacct prints it, such as `CANCELLED by 1000`; what Slurm forgot is lost."""
        return _SLURM.get(word.partition(" ")[0], State.lost)

    @classmethod
    def of_sagemaker(cls, status: str) -> "State":
        """`status` is a TrainingJobStatus; one that SageMaker does not have is not submitted."""
        return _SAGEMAKER.get(status, State.pending)


# state: MLflow's run status, Slurm's job states, SageMaker's TrainingJobStatus
WORDS = {
    State.pending: ("SCHEDULED", "PENDING CONFIGURING POWER_UP_NODE REQUEUED REQUEUE_FED "
                    "REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT", ""),
    State.running: ("RUNNING", "RUNNING COMPLETING EXPEDITING RESIZING SIGNALING STAGE_OUT STOPPED "
                    "SUSPENDED UPDATE_DB", "InProgress Stopping Deleting"),
    State.finished: ("FINISHED", "COMPLETED", "Completed"),
    State.failed: ("FAILED", "FAILED BOOT_FAIL LAUNCH_FAILED NODE_FAIL OUT_OF_MEMORY RECONFIG_FAIL",
                   "Failed"),
    State.pruned: ("KILLED", "", ""),  # to Slurm its job has completed; SageMaker has none
    State.killed: ("KILLED", "CANCELLED TIMEOUT DEADLINE PREEMPTED REVOKED", "Stopped"),
    State.lost: ("KILLED", "UNKNOWN", ""),
}  # fmt: skip
_SLURM = {word: state for state, (_, words, _) in WORDS.items() for word in words.split()}
_SAGEMAKER = {word: state for state, (_, _, words) in WORDS.items() for word in words.split()}
