from pathlib import Path

import pytest

from rlvr.compare.comparison import read_runs, read_sweep
from rlvr.compare.names import model_name, short_names, shown
from rlvr.errors import UserError


def test_what_differs_are_the_swept_overrides_with_their_types(make_sweep, grid):
    comparison = read_sweep(make_sweep(grid))
    assert comparison.keys == ["shots", "trainer.learning_rate"]
    assert [row.varied for row in comparison.rows][1] == {"shots": 2, "trainer.learning_rate": 1e-3}
    assert comparison.rows[1].label() == "shots=2, lr=1e-3"
    assert comparison.title() == "tiny on word_problems (test, n = 200)"


def test_overrides_that_all_runs_share_do_not_differ(make_sweep):
    jobs = [(f"seed=1 shots={n} launcher.n_jobs={n} output_dir=o{n}", {}) for n in (0, 4)]
    assert read_sweep(make_sweep(jobs)).keys == ["shots"]


def test_a_setting_some_runs_leave_at_its_default(make_sweep):
    comparison = read_sweep(make_sweep([("shots=4", {}), ("", {})]))
    assert [row.varied["shots"] for row in comparison.rows] == [4, 8]


def test_a_group_differs_by_its_name(make_sweep):
    comparison = read_sweep(make_sweep([("model=tiny", {}), ("model=smollm2_135m", {})]))
    assert [row.label() for row in comparison.rows] == ["model=tiny", "model=smollm2_135m"]


def test_runs_without_overrides_are_told_apart_by_their_config(make_run, tmp_path: Path):
    for name, beta in (("a", 0.0), ("b", 0.04)):
        make_run(tmp_path / name, [])
        config = tmp_path / name / "config.yaml"
        config.write_text(config.read_text().replace("beta: 0.0", f"beta: {beta}"))
    comparison = read_runs([tmp_path / "a", tmp_path / "b"], tmp_path)
    assert [row.varied for row in comparison.rows] == [
        {"trainer.beta": 0.0},
        {"trainer.beta": 0.04},
    ]


def test_equal_runs_differ_in_nothing(make_run, tmp_path: Path):
    for name in ("a", "b"):
        make_run(tmp_path / name, ["shots=4"])
    comparison = read_runs([tmp_path / "a", tmp_path / "b"], tmp_path)
    assert comparison.keys == []
    assert [row.label() for row in comparison.rows] == ["a", "b"]


def test_pending_jobs_have_no_config_yet(make_sweep):
    directory = make_sweep([("shots=2", {}), ("shots=4", {"state": "pending"})])
    (directory / "1" / "config.yaml").unlink()
    assert [row.varied["shots"] for row in read_sweep(directory).rows] == [2, 4]


def test_the_best_run_has_finished(make_sweep):
    jobs = [
        ("shots=0", {"trained": 0.4}),
        ("shots=2", {"trained": 0.6}),
        ("shots=4", {"trained": 0.6}),
        ("shots=8", {"state": "failed", "trained": 0.9}),
    ]
    comparison = read_sweep(make_sweep(jobs))
    assert comparison.best.runs == [comparison.rows[1]]


def test_no_run_is_best_before_one_has_finished(make_sweep):
    comparison = read_sweep(make_sweep([("shots=0", {"state": "pending"})]))
    assert comparison.best is None


def test_a_job_whose_process_is_gone_is_lost(make_sweep):
    directory = make_sweep([("shots=0", {"state": "running"})])
    manifest = directory / "sweep.json"
    assert read_sweep(directory).rows[0].state == "running"  # a remote job: nobody here knows
    manifest.write_text(manifest.read_text().replace('"remote": {', '"pid": 999999999, "x": {'))
    text = manifest.read_text().replace('"x": {\n        "name": "job"\n      }', '"remote": null')
    manifest.write_text(text.replace('"pid": null,\n', ""))
    assert read_sweep(directory).rows[0].state == "lost"


def test_a_sweep_and_a_run_side_by_side(make_sweep, make_run, tmp_path: Path):
    sweep = make_sweep([("shots=0", {}), ("shots=2", {})])
    make_run(tmp_path / "extra", ["shots=4"])
    comparison = read_runs([sweep, tmp_path / "extra"], tmp_path)
    assert [(row.index, row.varied["shots"]) for row in comparison.rows] == [(0, 0), (1, 2), (2, 4)]


def test_a_directory_that_is_neither(tmp_path: Path):
    with pytest.raises(UserError, match="neither a sweep nor a run"):
        read_runs([tmp_path], tmp_path)


def test_short_names_are_as_long_as_they_must():
    keys = ["shots", "eval.temperature", "trainer.temperature", "trainer.learning_rate"]
    assert list(short_names(keys).values()) == [
        "shots",
        "eval.temperature",
        "trainer.temperature",
        "lr",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-5, "1e-5"),
        (True, "true"),
        (None, "null"),
        ([1, 2], "[1, 2]"),
        ("dapo", "dapo"),
        (8, "8"),
    ],
)
def test_shown(value, text: str):
    assert shown(value) == text


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Qwen/Qwen2.5-0.5B", "Qwen2.5-0.5B"),
        ("/models/smollm2/", "smollm2"),
        ("package:tiny", "tiny"),
        ("gpt2", "gpt2"),
    ],
)
def test_model_name(path: str, name: str):
    assert model_name(path) == name
