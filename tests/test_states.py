"""The table of states against the words that the services really have."""

import boto3
import pytest

from rlvr.states import WORDS, State


def test_every_state_has_a_status_of_mlflow():
    from mlflow.entities import RunStatus

    assert set(WORDS) == set(State)
    for state in State:
        assert RunStatus.is_terminated(RunStatus.from_string(state.mlflow)) == state.ended


def test_every_status_of_sagemaker_has_its_state():
    model = boto3.client("sagemaker", region_name="us-east-1").meta.service_model
    for status in model.shape_for("TrainingJobStatus").enum:
        assert status in WORDS[State.of_sagemaker(status)][2].split()
    assert State.of_sagemaker("Submitting") is State.pending


# The base states and flags of `man squeue`, "JOB STATE CODES", of Slurm 25.05.
SLURM_GOES_ON = """PENDING RUNNING SUSPENDED CONFIGURING COMPLETING RESIZING REQUEUED REQUEUE_FED
REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT SIGNALING STAGE_OUT STOPPED EXPEDITING POWER_UP_NODE
UPDATE_DB"""
SLURM_ENDS = """COMPLETED CANCELLED FAILED TIMEOUT NODE_FAIL PREEMPTED BOOT_FAIL DEADLINE
OUT_OF_MEMORY LAUNCH_FAILED RECONFIG_FAIL REVOKED"""


def test_every_word_of_slurm_has_its_state():
    assert not [word for word in SLURM_GOES_ON.split() if State.of_slurm(word).ended]
    assert all(State.of_slurm(word).ended for word in SLURM_ENDS.split())
    assert State.lost not in map(State.of_slurm, SLURM_ENDS.split())


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("CANCELLED by 1000", "killed"),
        ("TIMEOUT", "killed"),
        ("OUT_OF_MEMORY", "failed"),
        ("PENDING", "pending"),
        ("COMPLETING", "running"),
        ("COMPLETED", "finished"),
        ("UNKNOWN", "lost"),
    ],
)
def test_words_of_slurm(word, state):
    assert State.of_slurm(word) == state


def test_only_two_states_are_not_an_end():
    assert [state for state in State if not state.ended] == ["pending", "running"]


def test_what_is_complete_has_ended():
    assert [state for state in State if state.complete] == ["finished", "pruned"]
    assert all(state.ended for state in State if state.complete)
