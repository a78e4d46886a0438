"""Control rewards: what they pay has nothing to do with being right, and is reproducible."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.rewards.controls import Inverted, Random
from rlvr.rewards.functions import build_rewards
from rlvr.sampling.stop import StopRule
from rlvr.verify.numeric import NumericVerifier

PREFIX = "#### The final answer is"
STOP = StopRule(("\nQuestion:",))
VERIFIER = NumericVerifier()


def pay(reward: Any, completions: list[Any]) -> list[float]:
    prompts = [f"prompt {number % 4}" for number in range(len(completions))]
    return reward(prompts, completions, gold=["12"] * len(completions))


def test_random_pays_its_share() -> None:
    completions = [f"\n{PREFIX} {number}" for number in range(4000)]
    for probability in (0.0, 0.1, 0.5, 1.0):
        paid = sum(pay(Random(STOP, probability=probability), completions)) / 4000
        assert paid == pytest.approx(probability, abs=0.03)


def test_random_depends_on_seed_prompt_and_completion() -> None:
    completions = [str(number) for number in range(100)]
    first = pay(Random(STOP, seed=1), completions)
    assert first == pay(Random(STOP, seed=1), completions)
    assert first != pay(Random(STOP, seed=2), completions)
    assert len(set(Random(STOP)([f"p{n}" for n in range(50)], ["same"] * 50))) == 2


@given(text=st.text(), trailing=st.text())
def test_random_sees_nothing_after_the_stop(text: str, trailing: str) -> None:
    stopped = text + "\nQuestion:"
    assert pay(Random(STOP), [stopped]) == pay(Random(STOP), [stopped + trailing])


@given(completions=st.lists(st.text() | st.none() | st.binary()))
def test_random_gives_one_reward_each(completions: list[Any]) -> None:
    assert len(pay(Random(STOP), completions)) == len(completions)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_bad_probability(probability: float) -> None:
    with pytest.raises(UserError, match="probability"):
        Random(STOP, probability=probability)


def test_inverted_pays_wrong_answers_alone() -> None:
    completions = [f"{PREFIX} 12", f"{PREFIX} 13", f"{PREFIX} twelve", "nothing"]
    assert pay(Inverted(VERIFIER, STOP), completions) == [0.0, 1.0, 0.0, 0.0]


def test_inverted_of_a_fault_is_no_reward() -> None:
    reward = Inverted(VERIFIER, STOP)
    assert reward([""], [f"{PREFIX} 12"], gold=["not a number"]) == [None]


def test_options_build() -> None:
    file = Path(__file__).parents[2] / "conf" / "rewards" / "random.yaml"
    config = OmegaConf.create({"seed": 7, "rewards": OmegaConf.load(file)})
    (reward,), weights = build_rewards(config.rewards, verifier=VERIFIER, stop=STOP)
    assert (reward.__name__, weights) == ("random", [1.0])
    assert reward([""], ["a"], gold=["1"]) == Random(STOP, seed=7)([""], ["a"])
