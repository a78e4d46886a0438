"""A user's function as the trainer calls it: whatever its form, with one message if it fails."""

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlvr.errors import UserError
from rlvr.rewards.controls import inverted_reward
from rlvr.rewards.functions import correctness_reward, format_reward
from rlvr.rewards.reward import Reward
from rlvr.verify.numeric import NumericVerifier
from rlvr.verify.verdict import Reason, Verdict

PREFIX = "#### The final answer is"
RIGHT = Verdict(1.0, Reason.CORRECT, "12", format_ok=True)
FAILED = Verdict(None, Reason.TIMEOUT, format_ok=True)


def call(function: Callable[..., Any], texts: list[str], **params: Any) -> list[Any]:
    return paid(Reward("mine", function, 1.0, params), texts)


def paid(reward: Reward, texts: list[str], verdicts: list[Verdict] | None = None) -> list[Any]:
    """As the trainer calls it, with all that TRL passes besides."""
    return reward(
        prompts=["Question: ?"] * len(texts),
        completions=texts,
        completion_ids=[[1]] * len(texts),
        verdicts=verdicts or [RIGHT] * len(texts),
        gold=["12"] * len(texts),
        question=["?"] * len(texts),
        trainer_state=None,
        log_extra=lambda column, values: None,
        log_metric=lambda name, value: None,
    )


# --- what a function is given -------------------------------------------------------------------


def test_a_function_gets_what_it_takes() -> None:
    def of_gold(completions, gold, verdicts, log_metric, limit, more=3):
        assert (gold, verdicts, limit, more) == (["12", "12"], [RIGHT, RIGHT], 5, 3)
        log_metric("seen", 1.0)
        return [1, 2]

    assert call(of_gold, ["a", "b"], limit=5) == [1.0, 2.0]


def test_a_function_that_takes_everything_gets_everything() -> None:
    def of_all(**everything):
        assert set(everything) == {
            *("prompts", "completions", "completion_ids", "verdicts", "gold", "question"),
            *("trainer_state", "log_extra", "log_metric", "limit"),
        }
        return [0]

    assert call(of_all, ["a"], limit=1) == [0.0]


def test_the_yaml_may_set_what_a_column_would() -> None:
    assert call(lambda completions, gold: [float(gold)], ["a"], gold=7) == [7.0]


def test_a_partial_and_a_method_are_rewards() -> None:
    def of(completions, share):
        return [share] * len(completions)

    class Holder:
        share = 0.5

        def pay(self, completions):
            return [self.share] * len(completions)

    assert call(functools.partial(of, share=0.25), ["a"]) == [0.25]
    assert call(Holder().pay, ["a"]) == [0.5]


# --- texts or messages --------------------------------------------------------------------------


def annotated(completions: list[list[dict[str, str]]], prompts=None) -> list[float]:
    assert prompts in (None, [[{"role": "user", "content": "Question: ?"}]] * len(completions))
    return [float(len(completion[0]["content"])) for completion in completions]


def by_mapping(completions: "list[list[Mapping[str, str]]]") -> list[float]:
    return [float(len(completion[-1].get("content"))) for completion in completions]


def unannotated(completions, **_):
    return [float(len(completion[0]["content"])) for completion in completions]


def unannotated_loop(completions, **_):
    return [sum(len(message["content"]) for message in chat) for chat in completions]


def of_texts(completions: list[str]) -> list[float]:
    return [float(len(completion)) for completion in completions]


def of_either(completions: list[str] | list[list[dict[str, str]]]) -> list[float]:
    assert all(isinstance(completion, str) for completion in completions)
    return [float(len(completion)) for completion in completions]


@pytest.mark.parametrize(
    "function", [annotated, by_mapping, unannotated, unannotated_loop, of_texts, of_either]
)
def test_texts_or_messages_as_the_function_reads_them(function: Any) -> None:
    reward = Reward("mine", function, 1.0, {})
    assert paid(reward, ["abc", "a"]) == [3.0, 1.0]
    assert paid(reward, ["ab", ""]) == [2.0, 0.0]


def test_messages_are_tried_once_and_remembered(caplog: pytest.LogCaptureFixture) -> None:
    calls = []

    def reads(completions):
        calls.append(type(completions[0]))
        return unannotated(completions)

    reward = Reward("mine", reads, 1.0, {})
    paid(reward, ["abc"])
    paid(reward, ["abc"])
    assert calls == [str, list, list]
    assert caplog.text.count("reward 'mine' (test_reward.py") == 1
    assert "reads chat messages" in caplog.text


def test_a_function_that_reads_texts_never_gets_messages() -> None:
    """Nor is a fault of its own taken for a wish for messages later on."""
    kinds = set()

    def reads(completions):
        kinds.add(type(completions[0]))
        return [0.0 if completions[0] == "fine" else completions[0].missing]

    reward = Reward("mine", reads, 1.0, {})
    paid(reward, ["fine"])
    with pytest.raises(UserError, match="'str' object has no attribute 'missing'"):
        paid(reward, ["other"])
    assert kinds == {str}


def test_the_first_error_is_told_where_messages_do_not_help() -> None:
    def broken(completions):
        return [float(completion.strp()) for completion in completions]

    with pytest.raises(UserError, match="'str' object has no attribute 'strp'"):
        call(broken, ["1"])


# --- what a function returns --------------------------------------------------------------------


async def later(completions, **_):
    await asyncio.sleep(0)
    return [float(len(text)) for text in completions]


class Client:
    """Its lock belongs to the event loop of the first call, like a connection."""

    lock: asyncio.Lock | None = None
    loop: object = None

    async def __call__(self, completions):
        self.loop = self.loop or asyncio.get_running_loop()
        assert self.loop is asyncio.get_running_loop()
        self.lock = self.lock or asyncio.Lock()
        async with self.lock:
            return await later(completions)


@pytest.mark.parametrize("function", [later, Client()])
def test_async_functions_are_awaited(function: Any) -> None:
    reward = Reward("mine", function, 1.0, {})
    assert [paid(reward, ["a", "ab"]), paid(reward, ["abc"])] == [[1, 2], [3]]


@pytest.mark.parametrize(
    "values",
    [
        [1, 0.5],
        (True, np.float32(0.5)),
        np.array([1.0, 0.5], dtype=np.float16),
        torch.tensor([1.0, 0.5], requires_grad=True),
        [torch.tensor(1), torch.tensor([0.5])],
        {"a": 1, "b": 0.5}.values(),
    ],
    ids=lambda values: type(values).__name__,
)
def test_lists_arrays_and_tensors_are_rewards(values: Any) -> None:
    result = call(lambda completions: values, ["a", "b"])
    assert result == [1.0, 0.5]
    assert {type(value) for value in result} == {float}


def test_a_generator_is_a_list_and_what_it_raises_is_told() -> None:
    def each(completions):
        for text in completions:
            yield float(text)

    assert call(each, ["1", "2"]) == [1.0, 2.0]
    with pytest.raises(UserError, match=r"'mine' raised ValueError: .*\(test_reward.py:\d+\)"):
        call(each, ["one"])


def test_no_opinion_is_allowed() -> None:
    assert call(lambda completions: [None, 1], ["a", "b"]) == [None, 1.0]
    assert call(lambda completions: np.array([None, 1]), ["a", "b"]) == [None, 1.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], r"returned 1 values; expected 2 numbers or None, one per completion"),
        ([1.0, 2.0, 3.0], "returned 3 values"),
        ([1.0, float("nan")], "returned nan"),
        (np.array([1.0, np.inf]), "returned inf"),
        (["1.0", "2.0"], r"returned '1\.0'"),
        (np.ones((2, 1)), r"returned \[1\.0\]"),
        (1.0, "returned float"),
        (np.float64(1.0), "returned float"),
        (None, "returned NoneType"),
        ("ab", "returned str"),
        ({"a": 1, "b": 2}, "returned dict"),
        ({1.0, 2.0}, "returned set"),
        ([10**400, 1], "returned 1000"),
    ],
)
def test_what_is_returned_is_checked(values: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"reward 'mine' \(test_reward.py:\d+\) {message}"):
        call(lambda completions: values, ["a", "b"])


# --- what a function raises ---------------------------------------------------------------------


def needs_answer(completions, answer):
    return [float(a == "12") for a in answer]


def looks_for_answer(completions, **columns):
    return [float(a == "12") for a in columns["answer"]]


def ends_everything(completions):
    raise SystemExit("no API key")


def positional(completions, /):
    return [0.0]


@pytest.mark.parametrize(
    ("function", "messages"),
    [
        (needs_answer, [r"missing a required argument: 'answer'", r"test_reward.py:\d+",
                        "may take prompts, .*gold, question, trainer_state, log_extra"]),
        (looks_for_answer, [r"raised KeyError: 'answer' \(test_reward.py:\d+\)",
                            r"called as \(completions, \*\*columns\) with prompts.*gold, q"]),
        (ends_everything, [r"called sys.exit\('no API key'\) \(test_reward.py:\d+\)"]),
        (positional, [r"\(test_reward.py:\d+\): 'completions' parameter is positional only"]),
    ],
)  # fmt: skip
def test_a_failure_names_the_reward_the_line_and_the_mend(
    function: Any, messages: list[str]
) -> None:
    with pytest.raises(UserError) as refused:
        call(function, ["a"])
    for message in messages:
        with pytest.raises(UserError, match=message):
            raise refused.value
    assert "'mine'" in str(refused.value)
    assert "reward.py:" not in str(refused.value).replace("test_reward.py:", "")


def test_a_failure_inside_trl_says_what_trl_expects() -> None:
    from trl.rewards import accuracy_reward, get_repetition_penalty_reward

    with pytest.raises(UserError, match=r"accuracy_rewards.py:\d+\): missing.*'solution'"):
        call(accuracy_reward, ["a"])
    reward = Reward("mine", get_repetition_penalty_reward(), 1.0, {})
    with pytest.raises(UserError, match=r"other_rewards.py.*completion_ids: list\[list\[int\]\]"):
        reward(["p"], ["a"], verdicts=[RIGHT], completion_ids=[12])


def test_ctrl_c_ends_the_run() -> None:
    def interrupted(completions):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(interrupted, ["a"])


# --- the verdicts -------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [format_reward, correctness_reward, of_texts, inverted_reward])
def test_where_the_verdict_failed_no_reward_has_an_opinion(function: Any) -> None:
    rewards = paid(Reward("mine", function, 1.0, {}), ["a", "b"], [FAILED, RIGHT])
    assert rewards[0] is None
    assert rewards[1] is not None


TEXTS = st.text(alphabet=f"{PREFIX}\n 0123456789.,-") | st.text()


@given(texts=st.lists(TEXTS))
def test_one_reward_per_completion_always_the_same(texts: list[str]) -> None:
    verdicts = NumericVerifier().verify(texts, ["12"] * len(texts))
    for function in (format_reward, correctness_reward, inverted_reward):
        rewards = paid(Reward("mine", function, 1.0, {}), texts, verdicts)
        assert len(rewards) == len(texts)
        assert set(rewards) <= {0.0, 1.0}
        assert rewards == paid(Reward("mine", function, 1.0, {}), texts, verdicts)
