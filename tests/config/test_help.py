"""`--help` says in a word what each option is, and shows a config as one would write it."""

from pathlib import Path

import pytest
import yaml

from rlvr.config.help import WIDTH, description, help_text

CONF = Path(__file__).resolve().parents[2] / "conf"
OPTIONS = sorted(file for file in CONF.glob("*/*.yaml") if file.parent.name != "local")


@pytest.mark.parametrize("file", OPTIONS, ids=lambda file: f"{file.parent.name}={file.stem}")
def test_every_option_says_what_it_is(file):
    text = help_text_once()
    assert (said := description(file))
    assert f" {file.stem:18} {said[:40].rsplit(' ', 1)[0]}" in text


_TEXT: list[str] = []


def help_text_once():
    if not _TEXT:
        _TEXT.append(help_text([], CONF))
    return _TEXT[0]


def config_part(text):
    return text.partition("Configuration: ")[2].partition("\n\n")[2].partition("\n\n")[0]


def test_no_line_is_cut_at_80_columns():
    assert max(map(len, help_text_once().splitlines())) <= WIDTH


def test_strings_and_keys_are_readable():
    text = help_text_once()
    assert r'question: "Question: {question}\n"' in text
    assert r'strings: ["\nQuestion:"]' in text
    assert "\n  n: null\n" in text
    assert "learning_rate: 1.84e-4" in text


def test_the_config_is_yaml_of_what_is_composed(compose_config):
    tree = yaml.safe_load(config_part(help_text_once()))
    cfg = compose_config()
    assert tree["dataset"]["prompt"]["question"] == cfg.dataset.prompt.question
    assert tree["eval"]["n"] is None
    assert set(tree) == set(cfg)


def test_comments_of_the_files_stand_by_their_keys():
    text = help_text_once()
    assert "  n_jobs: null # runs at a time; null = one per GPU, or one\n" in text
    assert "    revision: null # a commit of the hub repository pins the data\n" in text


def test_what_is_chosen_is_marked_and_shown():
    text = help_text(["model=tiny", "benchmark=[svamp,math500]", "shots=3"], CONF)
    for line in ("* tiny ", "* svamp ", "* math500 ", "  qwen2.5_0.5b "):
        assert f"\n{line}" in text
    assert "  path: package:tiny\n" in text
    assert "shots: 3\n" in text


def test_options_of_ones_own_are_listed(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine.yaml").write_text("# python train.py model=mine  my own\npath: /x\n")
    assert f"  {'mine':18} my own\n" in help_text([], CONF, tmp_path)
