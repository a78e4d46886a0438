"""Control rewards: what they pay has nothing to do with being right, and is reproducible."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rlvr.errors import UserError
from rlvr.rewards.build import build_rewards
from rlvr.rewards.controls import RandomReward, control_names, inverted_reward
from rlvr.rewards.functions import correctness_reward, format_reward
from rlvr.rewards.reward import Reward
from rlvr.verify.numeric import NumericVerifier
from rlvr.verify.verdict import Reason, Verdict

PREFIX = "#### The final answer is"


def pay(reward: Any, completions: list[str]) -> list[float]:
    return reward([f"prompt {number % 4}" for number in range(len(completions))], completions)


def test_random_pays_its_share() -> None:
    completions = [f"\n{PREFIX} {number}" for number in range(4000)]
    for probability in (0.0, 0.1, 0.5, 1.0):
        paid = sum(pay(RandomReward(probability=probability), completions)) / 4000
        assert paid == pytest.approx(probability, abs=0.03)


def test_random_depends_on_seed_prompt_and_completion() -> None:
    completions = [str(number) for number in range(100)]
    first = pay(RandomReward(seed=1), completions)
    assert first == pay(RandomReward(seed=1), completions)
    assert first != pay(RandomReward(seed=2), completions)
    assert len(set(RandomReward()([f"p{n}" for n in range(50)], ["same"] * 50))) == 2


@given(completions=st.lists(st.text() | st.text(alphabet="\ud800\udfff\0")))
def test_random_gives_one_reward_each(completions: list[str]) -> None:
    assert len(pay(RandomReward(), completions)) == len(completions)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_bad_probability(probability: float) -> None:
    with pytest.raises(UserError, match="probability"):
        RandomReward(probability=probability)


def test_inverted_pays_wrong_answers_alone() -> None:
    completions = [f"{PREFIX} 12", f"{PREFIX} 13", f"{PREFIX} twelve", "nothing"]
    assert inverted_reward(NumericVerifier().verify(completions, ["12"] * 4)) == [0, 1, 0, 0]


def test_inverted_of_a_fault_is_no_reward() -> None:
    reward = Reward("inverted", inverted_reward, 1.0, {})
    failed = Verdict(None, Reason.INFRA_ERROR, format_ok=True)
    assert reward([""], [f"{PREFIX} 12"], verdicts=[failed]) == [None]


def test_options_build() -> None:
    file = Path(__file__).parents[2] / "conf" / "rewards" / "random.yaml"
    config = OmegaConf.create({"seed": 7, "rewards": OmegaConf.load(file)})
    (reward,) = build_rewards(config.rewards)
    assert (reward.__name__, reward.weight, reward.control) == ("random", 1.0, True)
    right = Verdict(1.0, Reason.CORRECT)
    assert reward([""], ["a"], verdicts=[right]) == RandomReward(seed=7)([""], ["a"])


def names(*weights: float) -> list[str]:
    functions = {
        "format": format_reward,
        "correctness": correctness_reward,
        "random": RandomReward(),
        "inverted": inverted_reward,
    }
    return control_names(
        [Reward(n, f, w, {}) for (n, f), w in zip(functions.items(), weights, strict=False)]
    )


def test_which_rewards_are_controls() -> None:
    assert names(0.5, 1.0) == []
    assert names(0.5, 1.0, 0.0, 0.0) == [], "without weight a control does not count"
    assert names(0.5, 1.0, 0.1) == ["random"]
    assert names(0.5, 0.0, 0.0, -1.0) == ["inverted"]
    assert names(0.5, 0.0) == ["format"], "alone, the format is one too"
