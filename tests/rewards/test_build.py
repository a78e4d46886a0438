"""Rewards are built from YAML, and every mistake there gets one message that mends it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.rewards.build import build_rewards
from rlvr.rewards.reward import Reward
from rlvr.verify.verdict import Reason, Verdict

FORMAT = "rlvr.rewards.functions.format_reward"
CONF = Path(__file__).parents[2] / "conf" / "rewards"
RIGHT = Verdict(1.0, Reason.CORRECT, format_ok=True)


def pay(reward: Reward, texts: list[str], **columns: Any) -> list[Any]:
    ids = [[1] * len(text) for text in texts]
    verdicts = [RIGHT] * len(texts)
    return reward([""] * len(texts), texts, verdicts=verdicts, completion_ids=ids, **columns)


def short(completions: list[str], limit: int = 10, **columns: Any) -> list[float]:
    return [float(len(text) <= limit) for text in completions]


class Bonus:
    made = 0

    def __init__(self, amount: float) -> None:
        type(self).made += 1
        self.amount = amount

    def __call__(self, completions: list[str], **columns: Any) -> list[float]:
        return [self.amount] * len(completions)


class WithoutCall:
    pass


class Broken:
    def __init__(self, size: int = 0) -> None:
        self.share = 1 / size


def ends() -> None:
    raise SystemExit(3)


def at_most(limit: int) -> Callable[..., list[float]]:
    def reward(completions: list[str], **columns: Any) -> list[float]:
        return short(completions, limit)

    return reward


def without_annotation(limit=3):
    return at_most(limit)


def of_a_column(answer):
    return [float(text == "yes") for text in answer]


INSTANCE = Bonus(0.5)


def own(function: Any, **params: Any) -> dict[str, Any]:
    name = function if isinstance(function, str) else function.__qualname__
    return {"mine": {"_target_": f"{__name__}.{name}", **params}}


def test_the_reference_rewards() -> None:
    rewards = build_rewards(OmegaConf.load(CONF / "gsm8k.yaml"))  # type: ignore[arg-type]
    assert [reward.__name__ for reward in rewards] == ["format", "correctness"]
    assert [reward.weight for reward in rewards] == [0.5, 1.0]
    assert [reward.only_format for reward in rewards] == [True, False]
    assert [reward.judges_answers for reward in rewards] == [False, True]
    assert all(reward.pays_gold_in_full for reward in rewards)
    verdicts = [RIGHT, Verdict(0.0, Reason.WRONG, format_ok=True), Verdict(0.0, Reason.NO_ANSWER)]
    assert [r([""] * 3, [""] * 3, verdicts=verdicts) for r in rewards] == [[1, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_option_builds_and_says_how_to_use_it(file: Path) -> None:
    assert file.read_text().startswith("# python train.py ")
    config = OmegaConf.create({"seed": 1, "rewards": OmegaConf.load(file)})
    for reward in build_rewards(config.rewards):
        assert pay(reward, ["a", "b"]) == pay(reward, ["a", "b"])


def test_a_plain_function_is_a_reward() -> None:
    (reward,) = build_rewards(own(short, weight=2, limit=3))
    assert (reward.__name__, reward.weight, reward.pays_gold_in_full) == ("mine", 2.0, False)
    assert pay(reward, ["abc", "abcd"]) == [1.0, 0.0]


def test_a_class_is_constructed_once_with_its_parameters() -> None:
    before = Bonus.made
    (reward,) = build_rewards(own(Bonus, amount=0.25))
    assert pay(reward, ["a", "b"]) == pay(reward, ["a", "b"]) == [0.25, 0.25]
    assert Bonus.made == before + 1


@pytest.mark.parametrize("function", [at_most, without_annotation])
def test_a_function_that_makes_a_reward_is_called_once(function: Any) -> None:
    (reward,) = build_rewards(own(function, limit=1))
    assert pay(reward, ["a", "ab"]) == [1.0, 0.0]


def test_an_object_is_called_as_it_is() -> None:
    assert pay(build_rewards(own("INSTANCE"))[0], ["a"]) == [0.5]


def test_a_function_of_a_column_alone_is_a_reward() -> None:
    (reward,) = build_rewards(own(of_a_column))
    assert pay(reward, ["", ""], answer=["yes", "no"]) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("target", "params", "columns", "paid"),
    [
        ("accuracy_reward", {}, {"solution": ["12", "12"]}, [1.0, 0.0]),
        ("reasoning_accuracy_reward", {}, {"solution": ["12", "12"]}, [1.0, 0.0]),
        ("think_format_reward", {}, {}, [1.0, 0.0]),
        ("get_soft_overlong_punishment", {"max_completion_len": 20, "soft_punish_cache": 4}, {},
         [-1.0, 0.0]),
        ("get_repetition_penalty_reward", {"ngram_size": 25}, {}, [pytest.approx(-6 / 7), 0.0]),
        ("get_cosine_scaled_reward", {"max_len": 1, "max_value_wrong": -0.25},
         {"solution": ["12", "12"]}, [0.5, -0.25]),
    ],
)  # fmt: skip
def test_trls_own_rewards_work_as_they_are(
    target: str, params: dict[str, Any], columns: dict[str, Any], paid: list[Any]
) -> None:
    (reward,) = build_rewards({"trls": {"_target_": f"trl.rewards.{target}", **params}})
    assert pay(reward, [r"<think>6 + 6</think> \boxed{12}", r"\boxed{13}"], **columns) == paid


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "rewards is empty"),
        ({"mine": {"weight": 1}}, "rewards.mine needs _target_"),
        ({"mine": None}, "rewards.mine needs _target_"),
        ({"mine": {"_target_": "no.such.thing"}}, "rewards.mine._target_=no.such.thing: there is"),
        ({"mine": {"_target_": "math.pi"}}, "neither a function nor a class"),
        ({"mine": {"_target_": FORMAT, "weight": "much"}}, "mine.weight='much'"),
        ({"mine": {"_target_": FORMAT, "weight": True}}, "mine.weight=True"),
        ({"mine": {"_target_": FORMAT, "weight": float("inf")}}, "mine.weight=inf"),
        ({"mine": {"_target_": FORMAT, "wait": 1}}, "rewards.mine.wait is not a"),
        ({"total": {"_target_": FORMAT}}, "rewards.total: the name total is that of the weighted"),
        (own("shrot"), "has no 'shrot': did you mean short?"),
        (own(short, limt=3), "rewards.mine.limt is not a parameter of .*short: did you mean limit"),
        (own(Bonus), "rewards.mine.amount is not set: .*Bonus requires it"),
        (own(at_most), "rewards.mine.limit is not set: .*at_most requires it"),
        (own(Broken), r"Broken raised ZeroDivisionError: division by zero \(test_build.py:\d+\)"),
        (own(ends), r"ends called sys.exit\(3\) \(test_build.py:\d+\)"),
        (own(WithoutCall), "WithoutCall made .* which cannot be called"),
    ],
)  # fmt: skip
def test_bad_configuration(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_rewards(config)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(UserError) as refused:
        build_rewards({"a": {"_target_": "no.such"}, "b": {"_target_": FORMAT, "weight": "x"}})
    assert "rewards.a" in str(refused.value)
    assert "rewards.b" in str(refused.value)
