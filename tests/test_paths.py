from pathlib import Path

from rlvr import paths


def test_the_clone_and_the_package():
    assert (paths.PROJECT / "train.py").is_file()
    assert (paths.PACKAGE / "paths.py").is_file()
    assert (paths.ASSETS / "tiny" / "config.json").is_file()


def test_outputs_are_below_the_clone_wherever_one_stands(monkeypatch, tmp_path):
    monkeypatch.delenv("RLVR_OUTPUT_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    assert paths.output_dir() == paths.PROJECT / "outputs"
    monkeypatch.setattr(paths, "PROJECT", Path("/site-packages"))
    assert paths.output_dir() == tmp_path / "outputs", "an installed package has no clone"


def test_the_users_choice_is_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RLVR_OUTPUT_DIR", "mine")
    assert paths.output_dir() == tmp_path / "mine"
