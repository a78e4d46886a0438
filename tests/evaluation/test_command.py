"""`rlvr evaluate`: finished runs and their base asked again, with their own shots and others."""

import json
import shutil

import pytest

from rlvr import config
from rlvr.config.schema import Schedule
from rlvr.errors import UserError
from rlvr.evaluation.command import configs_of, evaluate_runs
from rlvr.evaluation.saved_models import SavedModels
from rlvr.run import run
from rlvr.sampling.shared import SharedEngine

SMALL = [
    *(
        "dataset=word_problems",
        "shots=1",
        "tracking=none",
        "eval=sampled",
        "eval.k=2",
        "eval.n=5",
        "eval.batch_size=5",
    ),
    *("trainer.max_steps=1", "trainer.batch_size=4", "rewards=random"),
    "trainer.num_generations=4",
    *("trainer.max_completion_length=8", "trainer.gradient_checkpointing=false"),
]


def text(folder, name):
    return (folder / f"evaluations/{name}.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("peft", ["none", "lora"])
def test_a_run_and_its_base_are_asked_with_other_shots(
    compose_config, saved_model, tmp_path, monkeypatch, peft
):
    cfg = compose_config(f"model.path={saved_model}", f"peft={peft}", *SMALL)
    folder = tmp_path / "run"
    run(cfg, folder)
    asked = []
    sample = SharedEngine.sample
    monkeypatch.setattr(
        SharedEngine, "sample", lambda self, model, prompts, *rest: (
            asked.extend(prompts), sample(self, model, prompts, *rest))[1],
    )  # fmt: skip
    cells = evaluate_runs([folder], [0, 1], None)
    assert [(c.train_shots, c.eval_shots, c.score.n) for c in cells] == [
        (None, 0, 5), (None, 1, 5), (1, 0, 5), (1, 1, 5),
    ]  # fmt: skip
    assert len(asked) == 2 * 5 * 2, "both models with 0 shots; the run has asked them with 1"
    for phase in ("base", "trained"):
        assert text(folder, f"{phase}.shots_1_n_5") == text(folder, phase)
    answers = text(folder, "trained.shots_1_n_5"), text(folder, "base.shots_0_n_5")
    shutil.rmtree(folder / "evaluations/answers")
    shutil.rmtree(tmp_path / "outputs")
    evaluate_runs([folder], [0, 1], None)
    assert (text(folder, "trained.shots_1_n_5"), text(folder, "base.shots_0_n_5")) == answers, (
        "the saved models, asked anew, say what the run itself heard"
    )


def test_what_is_known_is_asked_of_no_model_and_loads_none(
    compose_config, saved_model, tmp_path, monkeypatch
):
    """Two runs of one base model; a base model is asked once for both."""
    runs = []
    for number in (0, 1):
        change = [f"trainer.learning_rate={number + 1}e-3", "eval.before=false", f"shots={number}"]
        cfg = compose_config(f"model.path={saved_model}", "peft=none", *SMALL, *change)
        runs.append(tmp_path / str(number))
        run(cfg, runs[-1])
    loaded = []
    load = SavedModels._load
    monkeypatch.setattr(
        SavedModels, "_load", lambda self, trained: (
            loaded.append((self.folder.parent.name, trained)), load(self, trained))[1],
    )  # fmt: skip
    first = evaluate_runs(runs, [0, 1], 4)
    assert [(c.runs, c.train_shots, c.eval_shots) for c in first] == [
        (("0", "1"), None, 0), (("0", "1"), None, 1),
        (("0",), 0, 0), (("0",), 0, 1), (("1",), 1, 0), (("1",), 1, 1),
    ]  # fmt: skip
    assert loaded == [("0", False), ("0", True), ("1", True)]
    loaded.clear()
    assert evaluate_runs(runs, [0, 1], 4) == first
    assert not loaded


@pytest.mark.slow
def test_runs_that_are_asked_other_questions_have_base_models_of_their_own(
    compose_config, saved_model, tmp_path
):
    runs = []
    for seed in (1, 2):
        cfg = compose_config(f"model.path={saved_model}", "peft=none", *SMALL, f"seed={seed}")
        runs.append(tmp_path / str(seed))
        run(cfg, runs[-1])
    cells = evaluate_runs(runs, None, None)
    assert [(c.runs, c.train_shots) for c in cells] == [
        (("1",), None), (("2",), None), (("1",), 1), (("2",), 1),
    ]  # fmt: skip
    kept = json.loads((runs[0] / "result.json").read_text())
    assert cells[0].score.accuracy == kept["base"]["accuracy"]
    assert cells[2].score.accuracy == kept["trained"]["accuracy"]


def test_what_is_no_run_is_a_message(tmp_path):
    with pytest.raises(UserError, match="is no finished run"):
        evaluate_runs([tmp_path], [0], None)


def test_a_run_whose_shots_moved_is_asked_at_both_ends(compose_config, tmp_path):
    (tmp_path / "model").mkdir()
    cfg = compose_config(*SMALL, "model=tiny", "shots=2", "shots_schedule=linear", "shots_end=1")
    (tmp_path / "config.yaml").write_text(config.to_yaml(cfg))
    for shots, expected in ((None, [2, 1]), ([0, 4], [0, 4])):
        found = configs_of(tmp_path, shots, None)
        assert [(c.shots, c.dataset.num_shots) for c in found] == [(n, n) for n in expected]
        assert {c.shots_schedule for c in found} == {Schedule.constant}
        for asked in found:
            config.validate(asked)
