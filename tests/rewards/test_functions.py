"""Reward functions as the trainer calls them, and building them from YAML."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.rewards.functions import Correctness, Format, build_rewards
from rlvr.sampling.stop import StopRule
from rlvr.verify.numeric import NumericVerifier
from rlvr.verify.verdict import Reason, Verdict

PREFIX = "#### The final answer is"
STOP = StopRule(("\nQuestion:",), PREFIX)
VERIFIER = NumericVerifier()
FORMAT = "rlvr.rewards.functions.Format"
CONF = Path(__file__).parents[2] / "conf" / "rewards"


def build(config: dict[str, Any] | str) -> tuple[list[Callable[..., Any]], list[float]]:
    if isinstance(config, str):
        config = OmegaConf.load(CONF / f"{config}.yaml")
    return build_rewards(OmegaConf.create(config), verifier=VERIFIER, stop=STOP)


def call(reward: Callable[..., Any], completions: list[Any], golds: list[str]) -> list[Any]:
    """As TRL calls it, with all that it passes besides."""
    return reward(
        prompts=["Question: ?"] * len(completions),
        completions=completions,
        completion_ids=[[1]] * len(completions),
        gold=golds,
        question=["?"] * len(completions),
        trainer_state=None,
        log_extra=lambda column, values: None,
        log_metric=lambda name, value: None,
    )


def test_the_reference_rewards() -> None:
    rewards, weights = build("gsm8k")
    assert [reward.__name__ for reward in rewards] == ["format", "correctness"]
    assert weights == [0.5, 1.0]
    completions = [
        f" 6 + 6 = 12.\n{PREFIX} 12",
        f" 6 + 6 = 13.\n{PREFIX} 13",
        " no answer",
        f"\n{PREFIX} 12\nQuestion: 1 + 1?\n{PREFIX} 2",
        [{"role": "assistant", "content": f"\n{PREFIX} 12"}],
    ]
    assert call(rewards[0], completions, ["12"] * 5) == [1.0, 1.0, 0.0, 1.0, 1.0]
    assert call(rewards[1], completions, ["12"] * 5) == [1.0, 0.0, 0.0, 1.0, 1.0]


def test_rewards_end_where_the_sampler_would() -> None:
    """After the answer line nothing counts, whatever the verifier's own stop is."""
    text = f"\n{PREFIX} 12\nWait, no.\n{PREFIX} 15"
    assert call(Correctness(VERIFIER, STOP), [text], ["12"]) == [1.0]
    assert call(Correctness(VERIFIER, StopRule()), [text], ["12"]) == [0.0]


def test_reasons_are_reported_once_and_completely() -> None:
    logged: dict[str, float] = {}
    completions = [f"\n{PREFIX} 12", f"\n{PREFIX} 13", f"\n{PREFIX} twelve", "nothing"]

    def log(name: str, value: float) -> None:
        assert name not in logged
        logged[name] = value

    for reward in build("gsm8k")[0]:
        reward([""] * 4, completions, gold=["12"] * 4, log_metric=log)
    assert set(logged) == {f"reasons/{reason.value}" for reason in Reason}
    assert logged["reasons/correct"] == logged["reasons/wrong"] == 0.25
    assert logged["reasons/unparseable"] == logged["reasons/no_answer"] == 0.25
    assert sum(logged.values()) == 1.0


class Broken:
    """A verifier whose infrastructure failed."""

    def canonical(self, gold: object) -> str:
        return str(gold)

    def verify(self, completions: Any, golds: Any, **columns: Any) -> list[Verdict]:
        return [Verdict(None, Reason.INFRA_ERROR, format_ok=True) for _ in completions]


def test_a_fault_is_no_zero() -> None:
    assert call(Correctness(Broken(), STOP), ["a"], ["1"]) == [None]
    assert call(Format(Broken(), STOP), ["a"], ["1"]) == [1.0]


class Columns(Broken):
    def verify(self, completions: Any, golds: Any, **columns: Any) -> list[Verdict]:
        assert columns == {"question": ["?"]}
        return super().verify(completions, golds)


def test_verifiers_get_the_datasets_columns_alone() -> None:
    assert call(Correctness(Columns(), STOP), ["a"], ["1"]) == [None]


# --- a user's own rewards ----------------------------------------------------------------------


def short(completions: list[str], limit: int = 10, **columns: Any) -> list[float]:
    return [float(len(text) <= limit) for text in completions]


def lengths(completions: list[Any], stop: StopRule, **columns: Any) -> list[float]:
    assert stop is STOP
    return [float(len(completion)) for completion in completions]


def one_too_few(completions: list[str], **columns: Any) -> list[float]:
    return [1.0] * (len(completions) - 1)


def not_a_number(completions: list[str], **columns: Any) -> list[float]:
    return [float("nan")] * len(completions)


def not_a_list(completions: list[str], **columns: Any) -> float:
    return 1.0


def no_opinion(completions: list[str], **columns: Any) -> list[None]:
    return [None] * len(completions)


class Bonus:
    def __init__(self, amount: float, verifier: Any) -> None:
        assert verifier is VERIFIER
        self.amount = amount

    def __call__(self, prompts: Any, completions: Any, **columns: Any) -> list[float]:
        return [self.amount] * len(completions)


def own(function: Any, **params: Any) -> dict[str, Any]:
    return {"mine": {"_target_": f"{__name__}.{function.__qualname__}", **params}}


def test_a_plain_function_is_a_reward() -> None:
    (reward,), weights = build(own(short, weight=2, limit=3))
    assert (reward.__name__, weights) == ("mine", [2.0])
    assert call(reward, ["abc", "abcd", "abc\nQuestion: what?"], ["1"] * 3) == [1.0, 0.0, 1.0]


def test_a_plain_function_may_ask_for_the_stop_rule() -> None:
    (reward,), weights = build(own(lengths))
    assert weights == [1.0]
    assert call(reward, ["ab", [{"role": "assistant", "content": "x"}]], ["1"] * 2) == [2.0, 1.0]


def test_a_class_is_constructed_with_its_parameters() -> None:
    (reward,), _ = build(own(Bonus, amount=0.25))
    assert reward.__name__ == "mine"
    assert call(reward, ["a", "b"], ["1", "2"]) == [0.25, 0.25]


def test_no_opinion_is_allowed() -> None:
    assert call(build(own(no_opinion))[0][0], ["a"], ["1"]) == [None]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (one_too_few, "'mine' returned 1 values; expected a list of 2 numbers"),
        (not_a_number, "'mine' returned nan"),
        (not_a_list, "'mine' returned float"),
    ],
)
def test_what_a_function_returns_is_checked(function: Any, message: str) -> None:
    (reward,), _ = build(own(function))
    with pytest.raises(UserError, match=message):
        call(reward, ["a", "b"], ["1", "2"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "rewards is empty"),
        ({"mine": {"weight": 1}}, "rewards.mine needs _target_"),
        ({"mine": {"_target_": "no.such.thing"}}, "rewards.mine._target_=no.such.thing"),
        ({"mine": {"_target_": "math.pi"}}, "neither a function nor a class"),
        ({"mine": {"_target_": FORMAT, "weight": "much"}}, "mine.weight='much'"),
        ({"mine": {"_target_": FORMAT, "wait": 1}}, "rewards.mine.wait is not a"),
        (own(short, limt=3), "rewards.mine.limt is not a parameter of short: did you mean limit"),
        (own(Bonus), "rewards.mine: Bonus: missing a required argument: 'amount'"),
    ],
)  # fmt: skip
def test_bad_configuration(config: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(config)


@pytest.mark.parametrize("file", sorted(CONF.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_option_says_how_to_use_it(file: Path) -> None:
    assert file.read_text().startswith("# python train.py ")


TEXTS = st.text(alphabet=f"{PREFIX}\n 0123456789.,-") | st.text()
COMPLETIONS = st.lists(TEXTS | st.none() | st.binary() | st.lists(st.dictionaries(TEXTS, TEXTS)))


@given(completions=COMPLETIONS)
def test_one_reward_per_completion_always_the_same(completions: list[Any]) -> None:
    for option in ("gsm8k", "format_only", "inverted"):
        for reward in build(option)[0]:
            rewards = call(reward, completions, ["12"] * len(completions))
            assert len(rewards) == len(completions)
            assert set(rewards) <= {0.0, 1.0}
            assert rewards == call(reward, completions, ["12"] * len(completions))
