"""Where an answer stands, in text of any kind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.errors import UserError
from rlvr.verify.answers import AnswerLines, BoxedAnswers, spoken

PREFIX = "#### The final answer is"
lines = AnswerLines(PREFIX)
boxes = BoxedAnswers()


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("a", "a"),
        ("<think>a</think>b", "b"),
        ("<think>a</think>b<think>c</think>d", "d"),
        ("a<think>b", "a"),
        ("<think>a</think>b<think>c", "b"),
    ],
)
def test_thoughts_do_not_count(completion: str, text: str) -> None:
    assert spoken(completion) == text


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        (f"{PREFIX} a", ["a"]),
        (f"x\r\n{PREFIX} a\r\ny\r{PREFIX} b\r", ["a", "b"]),
        (f"{PREFIX}: a", ["a"]),
        (f"  {PREFIX.lower()}\u00a0a", ["a"]),
        ("####  The final   answer is  a", ["a"]),
        (f"{PREFIX}\n\n  a \nb", ["a"]),
        (f"{PREFIX}\n{PREFIX} a", ["a"]),
        (f"{PREFIX}", []),
        (f"{PREFIX}\n \n", []),
        (f"I say {PREFIX} a", []),
        ("##### The final answer is a", []),
        # emphasis that begins in the prefix belongs to the answer exactly when it is still open
        (f"**{PREFIX}** a", ["a"]),
        (f"**{PREFIX}:** a", ["a"]),
        (f"**{PREFIX} a**", ["**a**"]),
        (f"**{PREFIX}: a**", ["**a**"]),
        ("#### **The final answer is** a", ["a"]),
        ("#### **The final answer is a**", ["**a**"]),
        ("#### The *final* answer is a", ["a"]),
        (f"{PREFIX} **a** b", ["**a** b"]),
        (f"`{PREFIX} a`", ["`a`"]),
        (f"> {PREFIX} a", ["a"]),
        # displays
        (f"{PREFIX}\n\\[\na\n\\]\nb", ["a"]),
        (f"{PREFIX} \\[\na + \nb\n\\].", ["a + b."]),
        (f"{PREFIX}\n$$\na\n$$ apples", ["a apples"]),
        (f"{PREFIX}\n```text\na\n```", ["a"]),
        (f"{PREFIX} \\[ a \\]", [r"\[ a \]"]),
        (f"{PREFIX}\n\\[\na", [r"\["]),
        (f"{PREFIX} \\[\n{'a' * 2000}\n\\]", [r"\["]),
    ],
)
def test_answer_lines(text: str, answers: list[str]) -> None:
    assert lines(text) == answers


def test_any_prefix_but_an_empty_one() -> None:
    assert AnswerLines("Answer:")("so\nANSWER: 12") == ["12"]
    assert AnswerLines("**Answer**")("**Answer** 12") == ["12"]
    with pytest.raises(UserError, match="answer_prefix"):
        AnswerLines(" ")


@given(st.text(alphabet=f"{PREFIX}\n *_`:>[]\\$12"))
def test_answers_are_stripped_and_never_empty(text: str) -> None:
    for answer in lines(f"{PREFIX}{text}\n{PREFIX} {text}"):
        assert answer
        assert answer == answer.strip()


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        (r"\boxed{1} and \fbox{2}", ["1"]),
        (r"\boxed{1}, \boxed {2}, \fboxed{3}", ["1", "2", "3"]),
        (r"\boxed{\frac{1}{2}}", [r"\frac{1}{2}"]),
        (r"\boxed{\boxed{1}}", [r"\boxed{1}"]),
        (r"\boxed{\{1\}}", [r"\{1\}"]),
        (r"\boxed{1", []),
        (r"\boxed{} \boxed{ } \boxed{~} \boxed{\,\ } \boxed{\quad} \boxed{$$} \boxed{{}}", []),
        (
            r"\boxed{\phantom{2}} \boxed{\hphantom{\frac{1}{2}}} \boxed{\text{ }} \boxed{\mbox{}}",
            [],
        ),
        (r"\boxed{\phantom{2}1}", [r"\phantom{2}1"]),
        (r"\boxed{\hspace{1cm}}", []),
    ],
)
def test_boxes(text: str, answers: list[str]) -> None:
    assert boxes(text) == answers
