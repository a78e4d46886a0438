import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rlvr
from rlvr.errors import UserError

DOCS = Path(__file__).parents[2] / "docs" / "sweeps.md"
NOTEBOOK = DOCS.parents[1] / "examples/sweep_as_data.ipynb"


@pytest.fixture
def sweep(make_sweep, answer):
    directory = make_sweep(
        [
            ("shots=2", {"trained": 0.5, "base": 0.25, "n": 4}),
            ("shots=4", {"state": "failed", "n": 4}),
        ]
    )
    answer(directory / "0", "base", [True, False, False, False])
    answer(directory / "0", "trained", [[True, False], True, None, False])
    lines = [{"step": 1, "reward/total": 0.5}, {"step": 2, "reward/total": 0.75}]
    (directory / "0" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return directory


def test_a_sweep_is_a_row_a_run(sweep):
    frame = rlvr.load_sweep(sweep)
    assert list(frame["run"]) == [0, 1]
    assert list(frame["shots"]) == [2, 4]
    assert frame["points"][0] == 25.0
    assert frame["state"][1] == "failed"
    assert frame.attrs["title"] == "tiny on word_problems (test, n = 4)"
    assert frame.attrs["verdict"].startswith("Best is run 0 (shots=2): 50.0 %")


def test_the_newest_sweep_and_one_by_name(sweep, monkeypatch):
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(sweep.parents[1]))
    assert len(rlvr.load_sweep()) == len(rlvr.load_sweep(sweep.name)) == 2
    assert len(rlvr.load_metrics(sweep.name)) == 2


def test_a_run_is_one_row_with_the_same_columns(sweep):
    run, whole = rlvr.load_run(sweep / "0"), rlvr.load_sweep(sweep)
    assert len(run) == 1
    assert set(whole) - set(run) == {"shots"}  # nothing differs in one run
    assert run["trained_accuracy"][0] == 0.5


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="neither a sweep nor a run"):
        rlvr.load_run(tmp_path)
    with pytest.raises(UserError, match="no sweep"):
        rlvr.load_sweep(tmp_path)


def test_answers_are_a_row_a_sample(sweep):
    frame = rlvr.load_answers(sweep / "0")
    assert list(frame["phase"]) == ["base"] * 4 + ["trained"] * 5
    trained = frame[frame["phase"] == "trained"]
    assert list(trained["id"]) == ["id0", "id0", "id1", "id2", "id3"]
    assert list(trained["sample"]) == [0, 1, 0, 0, 0]
    assert list(trained["correct"]) == [True, False, True, False, False]
    assert trained["reward"].isna().sum() == 1
    assert len(rlvr.load_answers(sweep)) == 9


def test_metrics_are_a_row_a_step(sweep):
    frame = rlvr.load_metrics(sweep)
    assert frame.to_dict("list") == {"run": [0, 0], "step": [1, 2], "reward/total": [0.5, 0.75]}


def test_every_column_is_documented(sweep):
    text = DOCS.read_text(encoding="utf-8").split("## In Python\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"`(\w+)`", text))
    assert set(rlvr.load_sweep(sweep)) - {"shots"} <= documented
    assert set(rlvr.load_answers(sweep)) <= documented


def test_importing_the_package_is_instant():
    heavy = ("pandas", "numpy", "hydra", "omegaconf", "torch", "mlflow", "scipy", "yaml")
    code = f"import sys, rlvr; print({heavy!r} and [n for n in {heavy!r} if n in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_the_notebook_runs_and_holds_no_path(example, monkeypatch):
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(example.parents[1]))
    monkeypatch.setenv("MPLBACKEND", "agg")
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)
    names: dict[str, Any] = {}
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    for cell in cells:
        assert cell["outputs"], "the notebook is kept as it was run"
        exec("".join(cell["source"]), names)
    assert len(names["runs"]) == 24
    assert len(names["gained"]) + len(names["lost"]) > 0
