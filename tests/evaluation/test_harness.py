"""The real lm_eval on a run's model; what it says of its own generations, our rules say too."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from rlvr import config
from rlvr.cli import main
from rlvr.errors import UserError
from rlvr.evaluation.harness import run_lm_eval
from rlvr.evaluation.rules import FlexibleExtract, StrictMatch

TASK = """
include: {gsm8k}
task: local
dataset_path: json
dataset_name: null
dataset_kwargs: {{data_files: {{train: {train}, test: {test}}}}}
num_fewshot: 2
generation_kwargs: {{until: ["Question:"], do_sample: false, max_gen_toks: 40}}
"""


@pytest.fixture
def finished(compose_config, tmp_path):
    """A run of the embedded model that has trained nothing."""
    from rlvr.training.model import resolve_path

    folder = tmp_path / "run"
    folder.mkdir()
    cfg = compose_config("experiment=debug", "tracking=none")
    (folder / "config.yaml").write_text(config.to_yaml(cfg))
    shutil.copytree(resolve_path("package:tiny"), folder / "model")
    return folder


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """A folder with one task; lm_eval's own 14,000 take seconds to list."""
    lm_eval = pytest.importorskip("lm_eval", reason="lm_eval is not installed (rlvr[lm-eval])")
    from lm_eval.tasks import TaskManager

    monkeypatch.setattr("lm_eval.tasks.TaskManager", partial(TaskManager, include_defaults=False))
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name, first in (("train", 1), ("test", 5)):
        rows = [
            {
                "question": f"Tom has {n} pens and buys {n}. How many?",
                "answer": f"So.\n#### {2 * n}",
            }
            for n in range(first, first + 4)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    gsm8k = Path(lm_eval.__file__).parent / "tasks/gsm8k/gsm8k.yaml"
    files = {name: folder / f"{name}.jsonl" for name in ("train", "test")}
    (folder / "local.yaml").write_text(TASK.format(gsm8k=gsm8k, **files))
    return folder


def test_lm_eval_runs_on_the_trained_model_and_agrees_with_our_rules(finished, tasks, capsys):
    path = ["--include-path", str(tasks)]
    line = ["evaluate", str(finished), "--harness", "lm_eval", "--tasks", "local", "--limit", "3"]
    assert main([*line, *path]) == 0
    text = capsys.readouterr().out
    assert "flexible-extract" in text
    assert f"{finished}/evaluations/lm_eval.json" in text
    kept = json.loads((finished / "evaluations/lm_eval.json").read_text())
    scores = kept["results"]["local"]
    assert kept["n-samples"]["local"]["effective"] == 3
    lines = (finished / "evaluations/lm_eval.local.jsonl").read_text().splitlines()
    samples = [json.loads(line) for line in lines]
    for name, rule in (("strict-match", StrictMatch()), ("flexible-extract", FlexibleExtract())):
        mine = [sample for sample in samples if sample["filter"] == name]
        said = [sample["resps"][0][0] for sample in mine]
        golds = [sample["doc"]["answer"].rpartition(" ")[2] for sample in mine]
        verdicts = [float(v.correct) for v in rule.verify(said, golds)]
        assert [sample["exact_match"] for sample in mine] == verdicts
        assert scores[f"exact_match,{name}"] == sum(verdicts) / 3
        assert all(said), "the embedded model has said something"


def test_what_lm_eval_cannot_do_is_a_message(finished, tasks, monkeypatch):
    with pytest.raises(UserError, match=r"no such task: did you mean local\b"):
        run_lm_eval([finished], ["locla"], 1, tasks)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tasks / "test.jsonl").unlink()
    with pytest.raises(UserError, match=r"--tasks local: the data could not be had.*test\.jsonl"):
        run_lm_eval([finished], ["local"], 1, tasks)


def test_without_lm_eval_the_message_says_how_to_get_it(finished, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'rlvr\[lm-eval\]'"):
        run_lm_eval([finished], ["gsm8k"], 1, None)


@pytest.mark.parametrize(
    "line", ["--tasks gsm8k", "--harness lm_eval", "--limit 3", "--harness lm_eval --tasks a --n 3"]
)
def test_flags_that_do_not_belong_together_are_a_message(finished, line, capsys):
    assert main(["evaluate", str(finished), *line.split()]) == 1
    assert "--harness lm_eval needs --tasks" in capsys.readouterr().err
