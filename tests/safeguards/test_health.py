"""The monitor on hand-made batches, and in a real training run."""

import json
import logging

import numpy as np
import pytest

from rlvr.data.load import load_splits
from rlvr.errors import UserError
from rlvr.experiment import build_trainer
from rlvr.progress import Progress
from rlvr.rewards.build import build_rewards
from rlvr.rewards.controls import RandomReward
from rlvr.rewards.functions import correctness_reward, format_reward
from rlvr.rewards.reward import Reward
from rlvr.run import run
from rlvr.safeguards.disagreements import FILE
from rlvr.safeguards.health import HealthMonitor, _judging
from rlvr.safeguards.health_rules import WINDOW
from rlvr.tracking import NullTracker
from rlvr.verify.build import build_verifier
from rlvr.verify.numeric import NumericVerifier

PREFIX = "#### The final answer is"
VERIFIER = NumericVerifier()
FORMAT = Reward("format", format_reward, 1.0, {})


def answer(value: object) -> str:
    return f" Some steps.\n{PREFIX} {value}"


def test_which_reward_judges_answers():
    def judging(**weights):
        functions = {
            "format": format_reward,
            "right": correctness_reward,
            "own": lambda completions: [],
            "coin": RandomReward(),
        }
        rewards = [Reward(name, functions[name], w, {}) for name, w in weights.items()]
        return _judging(rewards, np.array([*weights.values()])).tolist()

    assert judging(format=0.5, right=1.0, own=2.0) == [0, 1, 0]
    assert judging(format=0.5, own=1.0, coin=2.0) == [0, 1 / 3, 2 / 3]
    assert judging(format=0.5, right=0.0) == [1, 0]


def observe(watching, texts, step=1, rewards=(FORMAT,)):
    """Completions of one question whose gold is 1, paid by the rewards."""
    row = {"prompt": "p", "question": "q", "gold": "1"}
    verdicts = VERIFIER.verify(texts, ["1"] * len(texts))
    golds = ["1"] * len(texts)
    columns = [r(["p"] * len(texts), texts, verdicts=verdicts, gold=golds) for r in rewards]
    paid = np.array(columns, dtype=float).T
    batch = watching.batch([row] * len(texts), texts, texts, [1] * len(texts), verdicts, paid)
    logged = {}
    watching.observe(batch, step, logged.__setitem__)
    return logged


def test_the_monitor_warns_once_and_counts(tmp_path, caplog):
    watching = HealthMonitor([FORMAT], PREFIX, tmp_path)
    for step in range(1, 7 * WINDOW):
        if step == 5 * WINDOW:  # a run that goes on
            text = json.dumps({"step": step - 1, "reward/total": 1.0})
            (tmp_path / "metrics.jsonl").write_text(text)
            watching = HealthMonitor([FORMAT], PREFIX, tmp_path)
        metrics = {
            "reward": [1.0],
            **{k: [v] for k, v in observe(watching, [answer(2)] * 4).items()},
        }
        with caplog.at_level(logging.WARNING):
            watching.complete_log_entry(metrics, step, {})
        if step == WINDOW:
            assert "steps 1 to 10: 100% of the completions were paid as right" in caplog.text
        count = caplog.text.count("were paid as right")
        assert count == (step >= WINDOW)
        assert metrics["health/warnings"][0] == len(caplog.records)


def pays_wrong_answers(completions, gold):
    return [float(not t.endswith(f"is {g}")) for t, g in zip(completions, gold, strict=True)]


@pytest.mark.parametrize("others", [[], ["format"], ["format", "correctness"]])
def test_the_expected_warning_on_a_reward_of_wrong_answers_names_it(others, tmp_path, caplog):
    functions = {"format": format_reward, "correctness": correctness_reward}
    rewards = [Reward(name, functions[name], 1.0, {}) for name in others]
    rewards.append(Reward("mine", pays_wrong_answers, 2.0, {}))
    watching = HealthMonitor(rewards, PREFIX, tmp_path)
    texts = [answer(1), "it is 1", answer(1), answer(2)]
    for step in range(1, WINDOW + 1):
        metrics = {k: [v] for k, v in observe(watching, texts, rewards=rewards).items()}
        watching.complete_log_entry({"reward": [1.0], **metrics}, step, {})
    first = caplog.records[0].getMessage()
    assert "steps 1 to 10: wrong answers earn more than right ones" in first
    assert "right ones: mine adds 2.00 to wrong and 0.00 to right answers" in first
    assert "format adds" not in first
    assert "too hard" not in caplog.text
    assert "paid as right" not in caplog.text


def test_a_run_that_goes_on_remembers_its_start(tmp_path):
    logged = [{"step": s, "reward/total": 1, "train/entropy": 2.0} for s in (1, 2, 3, 4)]
    logged += [{"step": 2, "eval/reward": 0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, logged)))
    watching = HealthMonitor([FORMAT], PREFIX, tmp_path)
    metrics = {"reward": [1.0], "entropy": [0.5]}
    watching.complete_log_entry(metrics, 3, {})
    assert metrics["health/entropy_ratio"] == [0.25]
    assert [r["step"] for r in watching._history.records] == [1, 2, 3]


def test_disagreements_become_a_table(tmp_path):
    sent = {}

    class Recorder(NullTracker):
        def log_table(self, rows, name):
            sent[name] = rows

    watching = HealthMonitor([FORMAT], PREFIX, tmp_path)
    watching.log_disagreements(Recorder())
    assert sent == {}, "there is nothing to show"
    observe(watching, [answer(2), answer(1)])
    watching.log_disagreements(Recorder())
    assert [row["gold"] for row in sent["health_disagreements"]] == ["1"]


SMALL = [
    *("dataset=word_problems", "dataset.loader.train_size=60", "dataset.loader.test_size=8"),
    *("shots=0", "peft=none", "trainer.batch_size=8", "trainer.max_steps=12"),
    "trainer.num_generations=4",
    *("trainer.max_completion_length=8", "trainer.gradient_checkpointing=false"),
    "rewards=random",
]


@pytest.fixture
def small_trainer(compose_config, saved_model, tmp_path):
    def build(*overrides):
        cfg = compose_config("~launcher", f"model.path={saved_model}", *SMALL, *overrides)
        splits = load_splits(cfg.dataset, seed=1, verifier=build_verifier(cfg.dataset))
        return build_trainer(
            cfg, tmp_path, build_rewards(cfg.rewards), splits, NullTracker(), Progress(tmp_path)
        )

    return build


def test_training_logs_health(small_trainer, tmp_path):
    trainer = small_trainer()
    trainer.train()
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    steps = [entry for entry in logged if "reward/total" in entry]
    names = {name for name in steps[-1] if name.startswith("health/")}
    assert names >= {
        *("health/accuracy", "health/independent_accuracy", "health/reward_gap"),
        *("health/false_positive_like", "health/false_negative_like", "health/format_only_share"),
        *("health/no_answer", "health/unparseable", "health/timeout", "health/infra_error"),
        *("health/spray", "health/retracted", "health/run_on", "health/duplicates"),
        *("health/groups_all_correct", "health/groups_all_wrong", "health/groups_same_other"),
        *("health/repeated_4grams", "health/entropy_ratio", "health/warnings"),
    }
    assert steps[0]["health/entropy_ratio"] == 1
    split = [steps[-1][f"health/groups_{k}"] for k in ("all_correct", "all_wrong", "same_other")]
    assert sum(split) == pytest.approx(steps[-1]["train/zero_std_groups"])
    assert steps[-1]["health/warnings"] >= 1, "random text is cut off"
    assert [entry["health/kl_probe"] >= 0 for entry in steps] == [True] * 12
    assert steps[0]["health/kl_probe"] < steps[-1]["health/kl_probe"]
    assert small_trainer("trainer.health=off").health is None


def test_a_gradient_that_is_not_finite_stops_the_run_with_step_and_rows(
    small_trainer, tmp_path, monkeypatch
):
    trainer = small_trainer("trainer.max_steps=4")
    weight = trainer.model.get_output_embeddings().weight
    observe_batch = HealthMonitor.observe

    def poison(health, batch, step, log_metric):
        if step == 3:
            weight.data[5] = float("nan")
        observe_batch(health, batch, step, log_metric)

    monkeypatch.setattr(HealthMonitor, "observe", poison)
    with pytest.raises(UserError, match="before optimizer step 3: the gradient's norm is nan"):
        trainer.train()
    rows = [json.loads(x) for x in (tmp_path / "health/bad_step.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    assert all("Question" in row["prompt"] for row in rows)
    assert not all(row["finite"] for row in rows)
    assert trainer.state.global_step == 2


TINY = [
    *("experiment=quickstart", "eval=none", "tracking=none", "trainer.max_steps=12"),
    "trainer.batch_size=64",
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rewards", "expected_warning"),
    [
        ("gsm8k", None),
        ("format_only", "were paid as right though their last number is not the gold answer"),
        ("inverted", "wrong answers earn more than right ones: inverted adds"),
    ],
)
def test_a_healthy_run_and_gamed_ones(compose_config, tmp_path, caplog, rewards, expected_warning):
    with caplog.at_level(logging.WARNING, logger="rlvr.safeguards.health"):
        run(compose_config("~launcher", *TINY, f"rewards={rewards}"), tmp_path)
    health = [record.message for record in caplog.records if record.message.startswith("health, ")]
    assert bool(health) == bool(expected_warning)
    if expected_warning:
        assert any(expected_warning in warning for warning in health)
        row = json.loads((tmp_path / FILE).read_text().splitlines()[0])
        assert row["disagreement"] == "paid, last number wrong"
