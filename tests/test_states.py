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


def test_every_end_that_submitit_knows_is_an_end():
    from submitit.slurm.slurm import SlurmInfoWatcher

    words = "COMPLETED FAILED CANCELLED TIMEOUT PREEMPTED OUT_OF_MEMORY NODE_FAIL BOOT_FAIL"
    assert all(State.of_slurm(word).ended for word in words.split())
    watcher = SlurmInfoWatcher()
    assert State.of_slurm(watcher.get_state("1")) is State.lost, "the scheduler forgot it"


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
