from hypothesis import given
from hypothesis import strategies as st

from rlvr.data.prompts import Exemplar, PromptBuilder, PromptTemplate
from rlvr.sampling.stop import StopRule

ONE = Exemplar("How many?", "It is 1 + 1 = 2.", "2")
TWO = Exemplar("And now?", "It is 3.", "3")
texts = st.text(max_size=30)
exemplars = st.builds(Exemplar, texts, texts, texts)


def test_zero_shots() -> None:
    assert (
        PromptBuilder(PromptTemplate())("How much?")
        == "Question: How much?\nSolution: Let's think step by step."
    )


def test_the_reference_format() -> None:
    assert PromptBuilder(PromptTemplate(), [ONE, TWO])("How much?") == (
        "Question: How many?\nSolution: Let's think step by step. It is 1 + 1 = 2.\n"
        "#### The final answer is 2\n\n"
        "Question: And now?\nSolution: Let's think step by step. It is 3.\n"
        "#### The final answer is 3\n\n"
        "Question: How much?\nSolution: Let's think step by step."
    )


def test_every_field_of_the_template_is_used() -> None:
    template = PromptTemplate("Do it.", "Q {question} ", "A", "So", "|")
    assert PromptBuilder(template, [ONE])("x") == (
        "Do it.|Q How many? A It is 1 + 1 = 2.\nSo 2|Q x A"
    )
    code = PromptTemplate("", "Q {question} ", "```\n", "", "|", "{answer}\n```")
    assert PromptBuilder(code, [ONE])("x") == "Q How many? ```\n2\n```|Q x ```\n"


def test_braces_in_a_question_are_text() -> None:
    assert "{x} {0}" in PromptBuilder(PromptTemplate())("{x} {0}")


@given(st.lists(exemplars, max_size=4), texts)
def test_prompts_share_the_prefix_and_end_with_the_question(
    shown: list[Exemplar], question: str
) -> None:
    template = PromptTemplate()
    builder = PromptBuilder(template, shown)
    assert builder(question) == builder.prefix + template.ask(question)
    assert builder.prefix.count(template.answer_prefix) >= len(shown)


def test_a_reference_completion_followed_by_a_run_on_is_cut_to_itself() -> None:
    template = PromptTemplate()
    completion = template.solve(ONE.solution, ONE.answer)
    for stop in (
        StopRule(("\nQuestion:",)),
        StopRule((), template.answer_prefix),
        StopRule(("\nQuestion:",), template.answer_prefix),
    ):
        assert stop.cut(completion) == completion
        assert stop.cut(completion + "\n" + template.ask("Next?")) == completion
