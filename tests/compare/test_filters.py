import pytest

from rlvr.compare.comparison import read_sweep
from rlvr.compare.filters import select
from rlvr.errors import UserError


@pytest.fixture
def comparison(make_sweep, grid):
    return read_sweep(
        make_sweep([*grid, ("shots=16 trainer.learning_rate=1e-5", {"state": "failed"})])
    )


@pytest.mark.parametrize(
    ("where", "state", "runs"),
    [
        (["shots=2"], None, [0, 1]),
        (["shots=2", "lr=1e-3"], None, [1]),
        (["trainer.learning_rate=0.001"], None, [1, 3]),
        (["learning_rate=2e-4"], None, [0, 2]),
        (["model.path=package:tiny"], "failed", [4]),
        ([], "finished", [0, 1, 2, 3]),
    ],
)
def test_runs_by_setting_and_state(comparison, where, state, runs):
    assert [row.index for row in select(comparison, where, state).rows] == runs


def test_what_they_share_is_no_difference_any_more(comparison):
    found = select(comparison, ["shots=2"], None)
    assert found.keys == ["trainer.learning_rate"]
    assert comparison.keys == ["shots", "trainer.learning_rate"]
    assert comparison.rows[0].label() == "shots=2, lr=2e-4"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("shot=2", "--where shot: no run has this setting: did you mean shots?"),
        ("shots", "expected KEY=VALUE"),
        ("shots=3", "no run with shots=3; shots is 2, 8, 16"),
        ("shots=two", "no run with shots=two; shots is 2, 8, 16"),
        ("name=x", "which of dataset.name, launcher.name?"),
    ],
)
def test_a_condition_that_fits_nothing_is_explained(comparison, where, message):
    with pytest.raises(UserError) as error:
        select(comparison, [where], None)
    assert message in str(error.value)


def test_a_state_that_no_run_is_in(comparison):
    with pytest.raises(UserError, match="no run is killed; the runs are finished, failed"):
        select(comparison, [], "killed")
