import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rlvr.sampling.stop import StopRule

PREFIX = "#### The final answer is"
DEFAULT = StopRule(("\nQuestion:",), PREFIX)

# Short alphabets, so that stops overlap, nest and stand inside answer lines.
PIECES = [*"ab#\n", "<think>", "</think>", "$$", "\\[", "\\]"]
texts = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
rules = st.builds(
    StopRule,
    st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3).map(tuple),
    st.sampled_from([None, "#", "#a"]),
)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("", ""),
        ("plain text", "plain text"),
        (" so 5\n#### The final answer is 5", " so 5\n#### The final answer is 5"),
        (" so 5\n#### The final answer is 5\n", " so 5\n#### The final answer is 5"),
        (" so\n#### The final answer is 5\nNo, 6.", " so\n#### The final answer is 5"),
        ("#### The final answer is 5\nmore", "#### The final answer is 5"),
        (" so 5\nQuestion: and now?", " so 5"),
        (" the #### The final answer is 5\nmore", " the #### The final answer is 5\nmore"),
        ("Question: is no stop here", "Question: is no stop here"),
        ("#### The final answer is\n\\[\n5\n\\]\nmore", "#### The final answer is\n\\[\n5\n\\]"),
        ("#### The final answer is $$\n5\n$$.\nmore", "#### The final answer is $$\n5\n$$."),
        ("#### The final answer is \\[ 5 \\]\nmore", "#### The final answer is \\[ 5 \\]"),
        ("#### The final answer is \\[\n5\n", "#### The final answer is \\[\n5\n"),
        ("#### The final answer is \\[\n5\nQuestion: x", "#### The final answer is \\[\n5"),
    ],
)
def test_cut(text: str, cut: str) -> None:
    assert DEFAULT.cut(text) == cut


def test_no_rule_never_stops() -> None:
    assert StopRule().find("a\nQuestion: b") is None
    assert StopRule().last_characters == frozenset()


def test_special_characters_are_literal() -> None:
    assert StopRule(("</s>", "a.b")).cut("axb a.b") == "axb "
    assert StopRule(("a|b",)).find("ab") is None


@given(rules, texts)
@example(StopRule(("b",), "#"), "#b a\n")
def test_cut_is_an_idempotent_prefix(rule: StopRule, text: str) -> None:
    cut = rule.cut(text)
    assert text.startswith(cut)
    assert rule.find(cut) is None
    assert (rule.find(text) is None) == (cut == text and rule.find(cut) is None)


@given(rules, texts, texts)
def test_what_follows_a_stop_changes_nothing(rule: StopRule, text: str, more: str) -> None:
    if rule.find(text) is not None:
        assert rule.cut(text + more) == rule.cut(text)


@given(
    rules,
    st.lists(st.text("ab#\n", min_size=1, max_size=5) | st.sampled_from(PIECES)),
    st.booleans(),
)
@example(StopRule(("b", "abb"), None), ["a", "b", "b"], False)
@example(StopRule(("b",), "#"), ["#b", " a\n"], False)
def test_streaming_token_by_token_agrees(rule: StopRule, tokens: list[str], thinking: bool) -> None:
    """The sampler looks only after tokens that contain one of `last_characters`."""
    text, whole = "", "".join(tokens)
    for token in tokens:
        text += token
        if set(token) & rule.last_characters and rule.find(text, thinking) is not None:
            break
    assert rule.cut(text, thinking) == rule.cut(whole, thinking)


@pytest.mark.parametrize(
    "text",
    [
        *("#" * 1_000_000, "\n#### The final answer is " * 40_000, "\nQuestion" * 110_000),
        "\n#### The final answer is $$\n" * 35_000,
        *("<think>" * 140_000, "<think></think>" * 70_000, "<think>" + "</think" * 140_000),
    ],
)
def test_a_megabyte_takes_milliseconds(text: str) -> None:
    start = time.perf_counter()
    DEFAULT.cut(text)
    assert time.perf_counter() - start < 0.2
