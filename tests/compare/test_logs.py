import pytest

from rlvr.compare.comparison import read_sweep
from rlvr.compare.logs import HealthWarning, health_warnings, metrics
from rlvr.errors import UserError


def test_a_warning_was_given_at_the_last_of_its_steps():
    assert HealthWarning(0, "step 3", "").step == 3
    assert HealthWarning(0, "steps 3 to 17", "").step == 17


def test_the_log_is_read_whatever_else_is_in_it(make_sweep):
    directory = make_sweep([("shots=2", {})])
    (directory / "0" / "train.log").write_bytes(
        b"\xff health, step x: no\n[WARNING] health, step 3: bad  \nhealth, steps 4 to 9: worse"
    )
    (row,) = read_sweep(directory).rows
    assert health_warnings(row) == [
        HealthWarning(0, "step 3", "bad"),
        HealthWarning(0, "steps 4 to 9", "worse"),
    ]


def test_metrics_that_cannot_be_read_are_named(tmp_path):
    assert metrics(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text('{"step":')
    with pytest.raises(UserError, match=r"metrics\.jsonl is not a run's metrics"):
        metrics(tmp_path)
