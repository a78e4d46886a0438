"""The pre-flight check lets good rewards pass, and says what is wrong with bad ones."""

import json

import pytest
from hydra.utils import instantiate

from rlvr.data.load import load_splits
from rlvr.errors import UserError
from rlvr.rewards.controls import Random
from rlvr.rewards.functions import Correctness, Format, PlainReward, build_rewards
from rlvr.safeguards.preflight import TOTAL, call, check_golds, control_names, mean, total
from rlvr.safeguards.preflight_report import conclude
from rlvr.safeguards.spoilt import GOLD, SPOILT
from rlvr.verify.math import MathVerifier
from rlvr.verify.numeric import NumericVerifier


class DropsTheSign(NumericVerifier):
    """The best known fault of the reference recipe."""

    def verify(self, completions, golds, **columns):
        texts = [text.replace("is -", "is ") for text in completions]
        return super().verify(texts, golds, **columns)


class PaysTheFirstNumber(NumericVerifier):
    def verify(self, completions, golds, **columns):
        texts = [text.replace("is not", "is") for text in completions]
        return super().verify(texts, golds, **columns)


@pytest.fixture(scope="session")
def checked(compose_config):
    """Check a configuration's rewards, or the given functions, on its data."""

    def check(*overrides, functions=None, verifier=None):
        sizes = ("dataset.loader.train_size=40", "dataset.loader.test_size=8")
        small = sizes if "dataset=word_problems" in overrides else ()
        cfg = compose_config("~launcher", "shots=2", *small, *overrides)
        verifier = verifier or instantiate(cfg.dataset.verifier)
        splits = load_splits(cfg.dataset, seed=1, verifier=verifier)
        if functions is None:
            paid = build_rewards(cfg.rewards, verifier=verifier, stop=splits.stop)
            return check_golds(*paid, splits)
        rewards = [PlainReward(f.__name__, f, splits.stop, {}) for f in functions]
        return check_golds(rewards, [1.0] * len(rewards), splits)

    return check


def numbers(check, *overrides, **settings):
    return check("dataset=word_problems", *overrides, **settings)


def test_the_reference_rewards_pass(checked):
    report = numbers(checked)
    assert report.findings == []
    assert report.control == []
    assert set(report.paid[TOTAL]) == {GOLD, *SPOILT}
    assert report.paid[TOTAL][GOLD] == 1.5
    assert all(report.paid["correctness"][kind] == 0 for kind in SPOILT)
    assert report.paid["format"]["changed"] == 1
    assert report.paid["format"]["cut off"] == report.paid["format"]["empty"] == 0


def test_domain_text_passes(checked):
    report = checked("dataset=medical_terms", "rewards=keywords")
    assert report.findings == []
    assert report.paid["keywords"][GOLD] == 1
    assert report.paid["keywords"]["negated"] == 0
    assert report.paid["keywords"]["another's"] < 0.5


def test_answers_that_are_text_pass(checked, tmp_path):
    rows = [{"question": f"Is {n} even?", "answer": "no" if n % 2 else "yes"} for n in range(40)]
    file = tmp_path / "even.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    exact = "dataset.verifier._target_=rlvr.verify.exact.ExactVerifier"
    report = checked("dataset=jsonl", f"dataset.path={file}", "shots=0", exact)
    assert report.findings == []
    assert "sign flipped" not in report.paid[TOTAL]


@pytest.mark.parametrize(
    ("prefix", "settings"),
    [
        (None, ["shots=0"]),
        (None, ["exemplars"]),
        ("#### The final answer is", ["shots=0"]),
    ],
)
def test_mathematical_answers_pass_boxed_or_not(checked, tmp_path, prefix, settings):
    golds = [r"\frac{\pi}{2}", "x+y", r"\sqrt{2}", "12", "-3", "(1,2)", "2x^2", r"\text{even}"]
    rows = [{"question": f"Question {n}?", "answer": gold} for n, gold in enumerate(golds * 3)]
    file, exemplars = tmp_path / "math.jsonl", tmp_path / "exemplars.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    shown = {"question": "1+1?", "solution": "It is 2.", "answer": r"\boxed{2}"}
    exemplars.write_text(json.dumps(shown))
    if settings == ["exemplars"]:
        settings = ["shots=1", f"dataset.exemplars={exemplars}"]
    verifier = MathVerifier(answer_prefix=prefix, workers=1)
    report = checked("dataset=jsonl", f"dataset.path={file}", *settings, verifier=verifier)
    assert report.findings == []
    assert report.paid[TOTAL][GOLD] == 1.5


def test_exemplars_that_the_verifier_does_not_read_are_found(checked):
    report = numbers(checked, verifier=MathVerifier(answer_prefix=None, workers=1))
    assert "verdict no_answer" in report.findings[0]


@pytest.mark.parametrize(
    ("verifier", "kind"), [(DropsTheSign, "sign flipped"), (PaysTheFirstNumber, "negated")]
)
def test_a_verifier_that_pays_wrong_answers_is_found(checked, verifier, kind):
    (finding,) = numbers(checked, verifier=verifier()).findings
    assert f"{kind} (36 of 36)" in finding
    assert "gets 1.50, the gold answer 1.50" in finding


def test_an_answer_format_that_is_not_paid_is_found(checked):
    report = numbers(checked, "dataset.prompt.answer_prefix=So:", verifier=NumericVerifier())
    assert len(report.findings) == 2
    assert all("36 of 36 questions" in finding for finding in report.findings)
    assert "verdict no_answer" in report.findings[0]
    assert "So: " in report.findings[0]
    assert "dataset.prompt.answer_prefix" in report.findings[0]


@pytest.mark.parametrize(
    ("option", "names"),
    [("random", ["random"]), ("inverted", ["inverted"]), ("format_only", ["format"])],
)
def test_controls_are_marked_and_not_refused(checked, option, names):
    report = numbers(checked, f"rewards={option}")
    assert report.control == names
    assert report.findings == []


def test_without_weight_a_control_does_not_count(checked):
    verifier, stop = NumericVerifier(), None
    rewards = [Format(verifier, stop), Correctness(verifier, stop), Random(stop)]
    assert control_names(rewards, [0.5, 1.0, 0.0]) == []
    assert control_names(rewards, [0.5, 1.0, 0.1]) == ["random"]
    assert control_names(rewards, [0.5, 0.0, 0.0]) == ["format"]


def brevity(completions, **columns):
    return [1 / (1 + len(text)) for text in completions]


def test_a_reward_that_never_looks_at_the_gold_is_found(checked):
    (finding,) = numbers(checked, functions=[brevity]).findings
    assert "wrong answers earn no less than right ones" in finding
    assert "empty" in finding


def raises(completions, gold, **columns):
    return [float(text.split("is ")[1]) for text in completions]


def too_few(completions, **columns):
    return [1.0]


def not_finite(completions, **columns):
    return [float("nan") if not text else 0.0 for text in completions]


def words(completions, **columns):
    return ["good" for _ in completions]


def nothing(completions, **columns):
    return None


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (raises, r"reward 'raises' raised ValueError: .* \(test_preflight.py:\d+\)"),
        (too_few, "reward 'too_few' returned 1 values; expected a list of 36"),
        (not_finite, r"reward 'not_finite' returned nan.* on the completion ''"),
        (words, "reward 'words' returned 'good'"),
        (nothing, "reward 'nothing' returned NoneType"),
    ],
)
def test_a_faulty_reward_is_named_with_an_example(checked, function, said):
    report = numbers(checked, functions=[function])
    assert len(report.findings) == 1
    with pytest.raises(UserError, match=said):
        report.refuse()
    assert "on the completion" in report.findings[0]


def looks_at_everything(
    prompts, completions, completion_ids, gold, question, trainer_state, log_metric, **columns
):
    log_metric("seen", trainer_state.global_step)
    assert len(prompts) == len(completions) == len(completion_ids) == len(gold) == len(question)
    right = [text.endswith(f"is {g}") for text, g in zip(completions, gold, strict=True)]
    return [float(r) for r in right]


def test_rewards_get_what_trl_gives_them(checked):
    report = numbers(checked, functions=[looks_at_everything])
    assert report.findings == []
    assert report.paid["looks_at_everything"][GOLD] == 1


def test_numbers_as_text_are_refused():
    def text(**columns):
        return ["1.0"]

    with pytest.raises(UserError, match=r"returned the text '1\.0'"):
        call(text, [{"prompt": "", "gold": "1"}], [""])


def test_totals_are_formed_as_trl_does():
    assert total([[1.0, None, None], [0.5, 2.0, None]], [2.0, 0.5]) == [2.25, 1.0, None]
    assert mean([1.0, None]) == 1.0
    assert mean([None]) is None


def test_the_report_is_shown_written_and_refused(checked, tmp_path, capsys):
    report = numbers(checked, functions=[brevity])
    with pytest.raises(UserError, match=r"trainer\.preflight=off"):
        conclude(report, tmp_path)
    assert "brevity x 1" in capsys.readouterr().out
    written = json.loads((tmp_path / "preflight.json").read_text())
    assert written["findings"] == report.findings
    assert written["weights"] == {"brevity": 1.0}
    assert 0 < written["paid"]["brevity"]["gold"] < 1


def test_a_control_is_shown_as_not_checked(checked, tmp_path, capsys):
    conclude(numbers(checked, "rewards=random"), tmp_path)
    assert "random: control reward, not checked" in capsys.readouterr().out
