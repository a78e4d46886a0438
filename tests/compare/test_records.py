import csv
import io
import json

import pytest

from rlvr.compare.comparison import read_sweep
from rlvr.compare.records import as_csv, as_json


def test_files_hold_plain_numbers(make_sweep, grid):
    comparison = read_sweep(make_sweep(grid))
    rows = list(csv.DictReader(io.StringIO(as_csv(comparison))))
    assert [row["trainer.learning_rate"] for row in rows] == ["0.0002", "0.001", "0.0002", "0.001"]
    assert float(rows[0]["trained_accuracy"]) == 0.87
    content = json.loads(as_json(comparison, chart="chart.png"))
    assert content["best"] == 0
    assert content["runs"][3]["points"] == pytest.approx(-19.0)
    assert content["runs"][3]["shots"] == 8
