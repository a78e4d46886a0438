"""Health metrics of hand-made batches, rules on hand-made histories, and a real training run."""

import json
import logging
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hydra.utils import instantiate

from rlvr.data.load import load_splits
from rlvr.rewards.controls import Random
from rlvr.rewards.functions import Correctness, Format, PlainReward
from rlvr.run import build_trainer, run
from rlvr.safeguards import health_rules as rules
from rlvr.safeguards import health_signals as signals
from rlvr.safeguards.health import FILE, KEPT, Disagreements, HealthMonitor, _judging
from rlvr.safeguards.health_rules import PAUSE, RULES, WINDOW, History
from rlvr.safeguards.health_signals import Batch
from rlvr.safeguards.second_opinion import agrees, gold_number, last_number
from rlvr.sampling.stop import StopRule
from rlvr.tracking import NullTracker
from rlvr.verify.numeric import NumericVerifier

PREFIX = "#### The final answer is"
VERIFIER = NumericVerifier()
LINE = StopRule((), PREFIX)


def answer(value: object) -> str:
    return f" Some steps.\n{PREFIX} {value}"


def batch(
    texts: Sequence[str],
    golds: Sequence[str],
    *,
    prompts: Sequence[str] | None = None,
    rewards: Sequence[Sequence[float]] | None = None,
    paid: Sequence[float] | None = None,
) -> Batch:
    """By default two to a prompt, and paid for format and correctness as verified."""
    verdicts = VERIFIER.verify(texts, golds)
    columns = rewards or [[float(v.format_ok), float(v.correct)] for v in verdicts]
    matrix = np.array(columns, dtype=float)
    return Batch(
        prompts=prompts or [f"prompt {n // 2}" for n in range(len(texts))],
        raw=texts,
        texts=texts,
        lengths=[len(text) for text in texts],
        golds=golds,
        verdicts=verdicts,
        rewards=matrix,
        totals=matrix @ ([0.5, 1.0] if matrix.shape[1] == 2 else np.ones(matrix.shape[1])),
        paid=np.array(paid if paid is not None else matrix[:, -1], dtype=float),
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("10 - 4 = 6.", 6),
        ("is -12", -12),
        ("is -$1,080 dollars", -1080),
        ("is $-12", -12),
        ("10-12", 12),
        ("12 cm^2 of CO2", 12),
        ("1.2e3", 1200),
        ("3/4", Fraction(3, 4)),
        (r"\frac{1}{2}", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("1{,}234", 1234),
        ("12 or 13", 13),
        ("twelve", None),
        ("12/0", None),
        ("", None),
    ],
)
def test_last_number(text, value):
    assert last_number(f"Some 99 steps.\n{text}" if value is not None else text) == value


def test_the_second_opinion_knows_nothing_of_formats():
    assert agrees("so 33.3333", Fraction(100, 3))
    assert not agrees("so 12.1", Fraction(12))
    assert gold_number("-1/2") == Fraction(-1, 2)
    assert gold_number("diagnosis: flu") is None
    assert gold_number(None) is None


def test_agreement_of_reward_and_last_number():
    texts = [answer(1), answer(2), "so it is 1", answer(3)]
    seen = signals.agreement(batch(texts, ["1"] * 4, paid=[1, 1, 0, 0]))
    assert seen == {
        "independent_accuracy": 0.5,
        "reward_gap": 0.0,
        "false_positive_like": 0.25,
        "false_negative_like": 0.25,
    }


def test_rows_that_cannot_be_judged_twice_are_left_out():
    assert signals.agreement(batch([answer(1)], ["heads"], paid=[1])) == {}
    assert signals.agreement(batch([answer(1)], ["1"], paid=[np.nan])) == {}


def test_format_only_shares():
    seen = signals.format_only(batch([answer(1), answer(2), answer(3), "none"], ["1"] * 4))
    assert seen == {"format_only_share": 0.5, "format_only_reward_share": pytest.approx(0.4)}
    assert "format_only_reward_share" not in signals.format_only(batch(["x", "y"], ["1"] * 2))


def test_answers_and_what_follows_them():
    texts = [
        answer(1) + "\nWait, that is wrong.",
        answer(1) + f"\n{PREFIX} 2",
        answer("1 or 2"),
        answer("one"),
        "nothing",
        answer(1) + "\n",
    ]
    seen = signals.answers(batch(texts, ["1"] * 6), LINE)
    assert seen["retracted"] == pytest.approx(1 / 6)
    assert seen["run_on"] == pytest.approx(2 / 6)
    assert seen["spray"] == pytest.approx(2 / 6)
    assert seen["unparseable"] == pytest.approx(2 / 6)
    assert seen["no_answer"] == pytest.approx(1 / 6)
    assert seen["accuracy"] == pytest.approx(2 / 6)
    assert seen["timeout"] == seen["infra_error"] == 0


def test_groups_without_variance_by_kind():
    texts = [*[answer(1)] * 2, *[answer(2)] * 2, answer(1), answer(2), answer(1), answer(2)]
    rewards = [[1.0], [1.0], [0.0], [0.0], [1.0], [0.0], [0.5], [0.5]]
    seen = signals.groups(batch(texts, ["1"] * 8, rewards=rewards))
    assert seen == {
        "groups_all_correct": 0.25,
        "groups_all_wrong": 0.25,
        "groups_same_other": 0.25,
    }


def test_lengths_of_right_and_wrong_answers():
    assert signals.lengths(batch([answer(1), answer(222)], ["1"] * 2)) == {
        "length_correct_minus_wrong": -2.0
    }
    assert signals.lengths(batch([answer(1), answer(1)], ["1"] * 2)) == {}


def test_repetition_within_groups_and_completions():
    seen = signals.repetition(batch(["a b c d a b c d", "a b c d", "x", "y"], ["1"] * 4))
    assert seen["repeated_4grams"] == pytest.approx(0.2 / 4)
    assert seen["duplicates"] == 0
    assert signals.repetition(batch(["x", "x", "x", "y"], ["1"] * 4))["duplicates"] == 0.25


def test_one_answer_to_every_question():
    top = signals.TopAnswers()
    for start in range(0, 20, 2):
        texts = [answer(7), answer(7), answer(7), answer(start)]
        seen = top(batch(texts, [str(start)] * 2 + [str(start + 1)] * 2))
    assert seen["top_answer_share"] == pytest.approx(0.75)
    assert seen["top_gold_share"] == pytest.approx(0.05)
    assert 1 < seen["answer_entropy"] < 3
    assert signals.TopAnswers()(batch(["none"], ["1"])) == {}


def test_components_move_together_or_apart():
    components = signals.Components(["format", "correctness"], [0.5, 1.0])
    for step in range(WINDOW):
        share = step / 10
        rewards = [[share, 0.0], [share, 1.0], [1.0, 0.0], [0.0, 1.0]]
        seen = components(batch([answer(1)] * 4, ["1"] * 4, rewards=rewards))
    assert seen["slope_lead/format"] == pytest.approx(0.05)
    assert -1 < seen["correlation/format"] < 0
    alone = signals.Components(["only"], [1.0])
    assert alone(batch([answer(1)], ["1"], rewards=[[1.0]])) == {}


def test_which_reward_judges_answers():
    stop = StopRule()
    form, right = Format(VERIFIER, stop), Correctness(VERIFIER, stop)
    own = PlainReward("own", lambda **_: [], stop, {})
    weights = np.array([0.5, 1.0, 2.0])
    assert _judging([form, right, own], weights).tolist() == [0, 1, 0]
    assert _judging([form, own, Random(stop)], weights).tolist() == [0, 1 / 3, 2 / 3]
    assert _judging([form, right], np.array([0.5, 0.0])).tolist() == [1, 0]


def history(entries: int, **values: object) -> History:
    """`values` are constants, or functions from 0..1, the share of the run that has passed."""
    records = []
    for n in range(entries):
        share = n / max(entries - 1, 1)
        now = {k.replace("__", "/"): v(share) if callable(v) else v for k, v in values.items()}
        records.append({"step": n + 1, **now})
    return History(records)


HEALTHY = {
    "reward__total": lambda s: 0.5 + 0.7 * s,
    "health__accuracy": lambda s: 0.2 + 0.6 * s,
    "health__independent_accuracy": lambda s: 0.22 + 0.6 * s,
    "health__reward_gap": lambda s: -0.05 * (1 - s),
    "health__false_positive_like": 0.0,
    "health__false_negative_like": lambda s: 0.06 * (1 - s),
    "health__format_only_reward_share": lambda s: 0.7 - 0.6 * s,
    "health__timeout": 0.0,
    "health__infra_error": 0.0,
    "health__spray": 0.02,
    "health__groups_all_wrong": lambda s: 0.5 - 0.5 * s,
    "health__groups_same_other": 0.0,
    "health__groups_all_correct": lambda s: 0.5 * s,
    "train__clipped_ratio": 0.05,
    "health__top_answer_share": 0.15,
    "health__top_gold_share": 0.1,
    "health__entropy_ratio": lambda s: 1 - 0.9 * s,
    "health__duplicates": lambda s: 0.2 + 0.5 * s,
    "health__repeated_4grams": 0.02,
}
SICK = {
    "false_positives": {"health__false_positive_like": 0.3},
    "false_negatives": {
        "health__false_negative_like": 0.3,
        "health__independent_accuracy": 0.4,
    },
    "reward_without_accuracy": {"health__independent_accuracy": 0.1},
    "faults": {"health__timeout": 0.1},
    "spray": {"health__spray": 0.5},
    "no_signal": {"health__groups_all_wrong": 0.95},
    "saturated": {"health__groups_all_correct": 0.99},
    "cut_off": {"train__clipped_ratio": 0.5},
    "constant_answer": {"health__top_answer_share": 0.9},
    "collapse": {"health__accuracy": 0.2, "health__duplicates": 0.95},
    "loops": {"health__repeated_4grams": 0.8},
}


def fired(seen: History) -> set[str]:
    return {rule.__name__ for rule in RULES if rule(seen)}


def test_every_rule_is_tested():
    assert {rule.__name__ for rule in RULES} == SICK.keys()


@pytest.mark.parametrize("entries", [1, WINDOW, 2 * WINDOW, 60])
def test_a_healthy_run_is_left_alone(entries):
    assert fired(history(entries, **HEALTHY)) == set()


@pytest.mark.parametrize("rule", SICK)
def test_each_rule_fires_alone_and_says_it_in_one_line(rule):
    seen = history(60, **{**HEALTHY, **SICK[rule]})
    assert rule in fired(seen)
    message = getattr(rules, rule)(seen)
    assert "nan" not in message
    assert "\n" not in message
    assert len(message) < 220


def test_noise_is_no_rise():
    rng = np.random.default_rng(0)
    noisy = history(40, accuracy=lambda _: 0.3 + rng.normal(0, 0.1))
    assert not noisy.risen("accuracy")
    assert history(40, accuracy=lambda s: 0.3 + 0.3 * s).risen("accuracy")
    assert not history(2 * WINDOW - 1, accuracy=lambda s: s).risen("accuracy")


@pytest.fixture
def splits(compose_config):
    cfg = compose_config("~launcher", *SMALL)
    return load_splits(cfg.dataset, seed=1, verifier=instantiate(cfg.dataset.verifier))


SMALL = [
    *("dataset=word_problems", "dataset.loader.train_size=60", "dataset.loader.test_size=8"),
    *("shots=0", "peft=none", "trainer.per_device_train_batch_size=8", "trainer.max_steps=12"),
    *("trainer.gradient_accumulation_steps=1", "trainer.num_generations=4"),
    *("trainer.max_completion_length=8", "trainer.gradient_checkpointing=false"),
    "rewards=random",
]


def monitor(splits, folder):
    rewards = [Format(splits.verifier, splits.stop)]
    return HealthMonitor(rewards, [1.0], splits, folder)


def observe(watching, texts, step=1):
    """Completions of one question whose gold is 1, paid for their format."""
    logged = {}
    row = {"prompt": "p", "question": "q", "gold": "1"}
    paid = [[float(v.format_ok)] for v in VERIFIER.verify(texts, ["1"] * len(texts))]
    rows, ids = [row] * len(texts), [[0]] * len(texts)
    watching.observe(rows, texts, ids, np.array(paid), step, logged.__setitem__)
    return logged


def test_the_monitor_warns_once_and_counts(splits, tmp_path, caplog):
    watching = monitor(splits, tmp_path)
    for step in range(1, PAUSE + WINDOW + 2):
        metrics = {
            "reward": [1.0],
            **{k: [v] for k, v in observe(watching, [answer(2)] * 4).items()},
        }
        with caplog.at_level(logging.WARNING):
            watching.conclude(metrics, step)
        if step == WINDOW:
            assert "steps 1 to 10: 100% of the completions were paid as right" in caplog.text
        count = caplog.text.count("were paid as right")
        assert count == (step >= WINDOW) + (step >= WINDOW + PAUSE)
        assert metrics["health/warnings"][0] == len(caplog.records)


def test_a_run_that_goes_on_remembers_its_start(splits, tmp_path):
    logged = [{"step": s, "reward/total": 1, "train/entropy": 2.0} for s in (1, 2, 3, 4)]
    logged += [{"step": 2, "eval/reward": 0}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, logged)))
    watching = monitor(splits, tmp_path)
    metrics = {"reward": [1.0], "entropy": [0.5]}
    watching.conclude(metrics, 3)
    assert metrics["health/entropy_ratio"] == [0.25]
    assert [r["step"] for r in watching._history.records] == [1, 2, 3]


def test_disagreements_are_kept_and_bounded(tmp_path):
    table = Disagreements(tmp_path / FILE)
    for step in range(40):
        texts = [answer(100 + step), f"It is {step}"]
        rows = [{"prompt": "p", "question": f"q{step}"}] * 2
        table.add(batch(texts, [str(step)] * 2, paid=[1, 0]), rows, step)
    table.write()
    rows = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert len(rows) == 2 * KEPT
    wrong = [row for row in rows if row["disagreement"] == "paid, last number wrong"]
    assert [row["step"] for row in wrong] == list(range(39, 14, -1))
    assert wrong[0]["extracted"] == wrong[0]["last_number"] == "139"
    assert rows[-1]["disagreement"] == "right, not paid"


def test_disagreements_become_a_table(splits, tmp_path):
    sent = {}

    class Recorder(NullTracker):
        def log_table(self, rows, name):
            sent[name] = rows

    watching = monitor(splits, tmp_path)
    watching.report(Recorder())
    assert sent == {}, "there is nothing to show"
    observe(watching, [answer(2), answer(1)])
    watching.report(Recorder())
    assert [row["gold"] for row in sent["health_disagreements"]] == ["1"]


def test_training_logs_health_and_reports_at_the_end(compose_config, saved_model, splits, tmp_path):
    cfg = compose_config("~launcher", f"model.path={saved_model}", *SMALL)
    trainer = build_trainer(cfg, tmp_path, splits, NullTracker())
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
    switched_off = compose_config(
        "~launcher", f"model.path={saved_model}", "trainer.health=off", *SMALL
    )
    assert build_trainer(switched_off, tmp_path, splits, NullTracker()).health is None


TINY = [
    *("experiment=quickstart", "eval=none", "tracking=none", "trainer.max_steps=12"),
    "trainer.per_device_train_batch_size=64",
]


@pytest.mark.slow
@pytest.mark.parametrize(("rewards", "warned"), [("gsm8k", False), ("format_only", True)])
def test_a_healthy_run_and_a_gamed_one(compose_config, tmp_path, caplog, rewards, warned):
    with caplog.at_level(logging.WARNING, logger="rlvr.safeguards.health"):
        run(compose_config("~launcher", *TINY, f"rewards={rewards}"), tmp_path)
    health = [record.message for record in caplog.records if record.message.startswith("health, ")]
    assert bool(health) == warned
    if warned:
        assert "were paid as right though their last number is not the gold answer" in health[0]
        row = json.loads((tmp_path / FILE).read_text().splitlines()[0])
        assert row["disagreement"] == "paid, last number wrong"
