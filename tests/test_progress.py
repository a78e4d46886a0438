"""Progress: a file for the sweep's live view, and few lines where nobody watches."""

import json

from rlvr.progress import Progress


def test_the_file_says_where_a_run_is(tmp_path):
    Progress(tmp_path, "train").update(3, 12, reward=0.5)
    state = json.loads((tmp_path / "progress.json").read_text())
    assert (state["phase"], state["step"], state["max_steps"]) == ("train", 3, 12)
    assert state["reward"] == 0.5
    assert state["eta_s"] >= 0


def test_a_log_gets_a_line_every_tenth_of_the_way(tmp_path, capsys):
    progress = Progress(tmp_path, "train")
    for step in range(1, 201):
        progress.update(step, 200, reward=step / 200)
    lines = capsys.readouterr().err.splitlines()
    assert 9 <= len(lines) <= 11
    assert lines[-1].startswith("train 200/200  reward 1.000")


def test_only_the_main_process_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    Progress(tmp_path, "train").update(1, 1)
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "progress.json").exists()
