"""Rewards are called as TRL calls them; a failure names the completion by its own number."""

import pytest

from rlvr.errors import UserError
from rlvr.rewards.reward import Reward
from rlvr.safeguards.paying import SHOWN, mean, pay, tail, total
from rlvr.verify.verdict import Reason, Verdict

RIGHT = Verdict(1.0, Reason.CORRECT)
TEXTS = [f"text {n}" for n in range(64)]


def paid(function, texts=TEXTS, ids=None):
    rows = [{"prompt": f"p{t}", "gold": t[-1:], "question": "q"} for t in texts]
    return pay(Reward("mine", function, 1.0, {}), rows, texts, [RIGHT] * len(texts), ids)


def message(function, texts=TEXTS):
    with pytest.raises(UserError) as refused:
        paid(function, texts)
    return str(refused.value)


def test_each_completion_comes_with_its_row():
    def matches(prompts, completions, gold, completion_ids):
        rows = zip(prompts, completions, gold, completion_ids, strict=True)
        return [p == f"p{t}" and t.endswith(g) and ids == [0, 1] for p, t, g, ids in rows]

    assert paid(matches) == [1.0] * 64
    assert paid(lambda completion_ids: [len(i) for i in completion_ids], ["a", "b"], [[7], []]) == [
        1,
        0,
    ]


@pytest.mark.parametrize("number", [0, 5, 31, 32, 63])
def test_a_crash_on_one_completion_names_it(number):
    def crashes(completions, **_):
        for index, text in enumerate(completions):
            if text == TEXTS[number]:
                raise ValueError(f"row {index} is bad")
        return [0.0] * len(completions)

    said = message(crashes)
    assert f"ValueError: row {number} is bad (test_paying.py" in said
    assert f"completions[{number}], 'text {number}'" in said


def test_the_number_of_values_is_that_of_the_whole_batch():
    said = message(lambda completions: [1.0 for text in completions if text != "text 5"])
    assert "returned 63 values; expected 64" in said
    assert "completions[5], 'text 5'" in said


def test_a_crash_of_every_call_names_the_first():
    calls = []

    def crashes(completions):
        calls.append(len(completions))
        raise TimeoutError("no answer")

    assert "TimeoutError: no answer" in message(crashes)
    assert len(calls) == 7, "a call may take long"


@pytest.mark.parametrize("number", [0, 5, 63])
def test_a_crash_at_a_place_in_the_batch_names_the_place(number):
    def crashes(completions):
        return [1 / (index - number) for index in range(len(completions))]

    assert f"completions[{number}], 'text {number}'" in message(crashes)


def test_long_completions_are_shown_by_their_end():
    assert tail("x" * 1000 + "end") == "..." + ("x" * 1000 + "end")[-SHOWN:]
    assert tail("short") == "short"


def test_totals_are_formed_as_trl_does():
    assert total([[1.0, None, None], [0.5, 2.0, None]], [2.0, 0.5]) == [2.25, 1.0, None]
    assert mean([1.0, None]) == 1.0
    assert mean([None]) is None
