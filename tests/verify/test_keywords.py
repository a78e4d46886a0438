"""Keyword rewards: what counts as saying it, and that listing words does not pay.

The 64 medical questions are judged in tests/examples/test_medical_terms.py.
"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.errors import UserError
from rlvr.verify.keywords import KeywordVerifier
from rlvr.verify.verdict import Reason, Verdict

COMBINE = [["finding", "diagnosis"], ["treatment"]]
VERIFIER = KeywordVerifier(COMBINE)
GOLD = VERIFIER.canonical(
    "diagnosis: appendicitis; treatment: appendectomy | removal of the appendix"
)
EXCLUSIVE = KeywordVerifier(COMBINE, exclusive=["diagnosis", "treatment"])
OTHERS = (
    "diagnosis: gastritis; treatment: omeprazole",
    "diagnosis: colitis | bowel inflammation; treatment: mesalazine | surgery",
)
for gold in (GOLD, *OTHERS):
    EXCLUSIVE.canonical(gold)


def judge(text: str, gold: str = GOLD, verifier: KeywordVerifier = VERIFIER) -> Verdict:
    return verifier.verify([text], [gold])[0]


@pytest.mark.parametrize(
    "text",
    [
        "This is acute appendicitis, and it is treated by appendectomy.",
        "This is acute APPENDICITIS. It is treated by removal of the appendix.",
        "It is not cholecystitis but appendicitis, so an appendectomy is needed.",
        "There is no fever, yet this is appendicitis. He needs an appendectomy without delay.",
        "Appendectomy, not antibiotics, is the treatment of appendicitis.",
        "She has no cough, rash, or headache. It is appendicitis. Appendectomy is the treatment.",
        "Diagnosis: appendicitis. Therapy: appendectomy",
        "**Diagnosis:** Appendicitis\n\n**Treatment:** Appendectomy",
        "- Diagnosis: appendicitis\n- Treatment: appendectomy",
        "- appendicitis\n- appendectomy",
        "<think>Not appendicitis?</think>It is appendicitis, and he needs an appendectomy.",
        "I first thought it is not appendicitis. It is appendicitis. He needs an appendectomy.",
    ],
)
def test_full_reward(text: str) -> None:
    assert judge(text) == Verdict(
        1.0, Reason.CORRECT, "appendicitis; appendectomy | removal of the appendix", format_ok=True
    )


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("This is acute appendicitis, and it is treated by rest.", 0.25),
        ("It is cholecystitis, and it is treated by appendectomy.", 0.25),
        ("This is acute appendicitis.\n\nIt is treated by appendectomy.", 0.5),  # two passages
        ("It is not appendicitis, and an appendectomy is not needed.", 0.0),
        ("It is not appendicitis. It is treated by appendectomy.", 0.25),
        ("It is appendicitis, treated by appendectomy. It is not appendicitis.", 0.25),
        ("There is no sign of acute appendicitis. Appendectomy isn't needed here.", 0.0),
        ("Appendicitis is unlikely, and appendectomy is contraindicated in him.", 0.0),
        ("She has no cough, appendicitis, or headache. There is a rash.", 0.0),
        ("The appendicitises and preappendectomy of it are not words.", 0.0),
        ("Drink water, and it will go away by itself.", 0.0),
    ],
)
def test_partial_reward(text: str, reward: float) -> None:
    found = judge(text)
    assert found.reward == reward
    assert found.reason is (Reason.PARTIAL if reward else Reason.WRONG)


CANDIDATES = [f"{part}itis" for part in "append gastr col cyst hepat nephr arthr derm".split()] * 8
THERAPIES = [f"{part}ectomy" for part in "append gastr col cyst lob nephr mast thyroid".split()] * 8


@pytest.mark.parametrize(
    "text",
    [
        "appendicitis appendectomy",
        "appendicitis, appendectomy",
        "Appendicitis. Appendectomy.",
        "appendicitis appendectomy removal of the appendix appendicitis",
        "\n".join(f"- {name}" for name in CANDIDATES + THERAPIES),
        "\n".join(f"Diagnosis: {name}" for name in CANDIDATES + THERAPIES),
        "\n".join(f"Case {n}: {name}" for n, name in enumerate(CANDIDATES + THERAPIES)),
        "Diagnosis: " + ", ".join(CANDIDATES) + ". Treatment: " + ", ".join(THERAPIES),
        ", ".join(CANDIDATES + THERAPIES),
        "It is treated by " + ", ".join(CANDIDATES + THERAPIES) + ".",
        "It is " + " or ".join(CANDIDATES + THERAPIES) + ".",
        " ".join(f"It is {name}." for name in CANDIDATES + THERAPIES),
        " ".join(f"The diagnosis is {name}. The treatment is {name}." for name in CANDIDATES),
    ],
)
def test_listing_words_does_not_pay(text: str) -> None:
    assert judge(text).reward == 0.0


def test_long_answers_are_worth_less() -> None:
    """Not even in prose: naming everything dilutes the reward."""
    everything = " ".join(
        f"Some think of {d} in case {n}, and {t} is given for it."
        for n, (d, t) in enumerate(zip(CANDIDATES, THERAPIES, strict=True))
    )
    assert judge(everything).reward < 0.1
    right = "This is acute appendicitis, and it is treated by appendectomy. "
    assert judge(right + "Drink a glass of water now. " * 6).reward == 1.0
    rewards = [judge(right + "Drink a glass of water now. " * n).reward for n in (8, 16, 32, 64)]
    assert rewards == sorted(rewards, reverse=True)
    assert 0.9 > rewards[0] > 2 * rewards[-1] > 0


@pytest.mark.parametrize(
    ("text", "reward"),
    [
        ("It is appendicitis, and he needs an appendectomy.", 1),
        ("It is appendicitis and not colitis. He needs an appendectomy, not omeprazole.", 1),
        ("It is appendicitis. Some think of colitis. He needs an appendectomy.", 1 / 2),
        (
            "It is appendicitis. The signs suggest gastritis. He has colitis. He needs an "
            "appendectomy. Omeprazole is given. Mesalazine also helps.",
            1 / 9,
        ),
        ("It is appendicitis or a hernia. He needs an appendectomy or a truss.", 1 / 4),
        ("It is appendicitis. Some think of colitis. He needs rest.", 1 / 8),
        ("It is not appendicitis but colitis. He needs an appendectomy.", 1 / 4),
    ],
)
def test_exclusive_roles_divide_the_reward_by_the_answers_given(text: str, reward: float) -> None:
    assert judge(text, verifier=EXCLUSIVE).reward == pytest.approx(reward)


def test_without_exclusive_roles_other_answers_cost_nothing() -> None:
    text = "It is appendicitis. Some think of colitis. He needs an appendectomy."
    assert judge(text).reward == 1


def test_what_the_question_names_is_no_answer() -> None:
    text = "It is appendicitis. The gastritis is another matter. He needs an appendectomy."
    assert judge(text, verifier=EXCLUSIVE).reward == 0.5
    question = "A man with known gastritis has pain on the right. What is it?"
    (verdict,) = EXCLUSIVE.verify([text], [GOLD], question=[question])
    assert verdict.correct


@pytest.mark.parametrize(
    "text",
    [
        "I doubt that it is appendicitis, and I would advise against an appendectomy.",
        "Is it appendicitis? Should he get an appendectomy?",
        "It could be appendicitis, gastritis, or colitis. It might be treated by appendectomy, "
        "omeprazole, or rest.",
        "It might be appendicitis. It could be gastritis. He may need an appendectomy. He may need "
        "omeprazole.",
        "The differential includes appendicitis, gastritis and colitis. Options are appendectomy, "
        "omeprazole and rest.",
    ],
)
def test_doubts_and_guesses_are_not_paid(text: str) -> None:
    assert judge(text).reward == 0
    assert judge(text, verifier=EXCLUSIVE).reward == 0


def test_one_cautious_answer_is_paid() -> None:
    assert judge("This may be appendicitis, and he might need an appendectomy.").correct


def test_a_negator_may_be_part_of_a_term() -> None:
    gold = VERIFIER.canonical("diagnosis: COPD; treatment: stop smoking")
    assert judge("This is COPD, and he should stop smoking.", gold).correct
    assert judge("This is COPD, and he should not stop smoking.", gold).reward == 0.25


def test_golds_without_roles_are_plain_sets() -> None:
    gold = VERIFIER.canonical("mitosis; meiosis")
    assert judge("One kind of division is mitosis.\n\nThe other one is meiosis.", gold).correct
    assert judge(VERIFIER.example(gold), gold).correct


def test_canonical_gold() -> None:
    assert VERIFIER.canonical("Diagnosis:  Gout ;Treatment: NSAID|Colchicine;") == (
        "diagnosis: gout; treatment: nsaid | colchicine"
    )
    assert VERIFIER.canonical(GOLD) == GOLD


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (None, "not text"),
        (["gout"], "not text"),
        ("", "empty term"),
        ("diagnosis: gout; treatment:", "empty term"),
        ("diagnosis: gout; treatment: a | ", "empty term"),
        ("diagnosis: gout; colchicine", "some terms have a role"),
        ("diagnosis: gout; finding: pain", "no term of the role treatment"),
        ("treatment: rest; treatment: diet", "no term of the role diagnosis or finding"),
        ("diagnosis: gout; treatment: rest; treatment: rest", "listed twice"),
    ],
)
def test_bad_gold_is_refused_when_loading(gold: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VERIFIER.canonical(gold)


def test_bad_parameters() -> None:
    with pytest.raises(UserError, match="words_per_term=0"):
        KeywordVerifier(words_per_term=0)
    with pytest.raises(UserError, match="list of lists"):
        KeywordVerifier(combine=["diagnosis"])
    with pytest.raises(UserError, match="exclusive=diagnosis: a list of roles"):
        KeywordVerifier(exclusive="diagnosis")


def test_an_exclusive_role_that_no_gold_has_is_a_mistake() -> None:
    verifier = KeywordVerifier(exclusive=["Diagnosis ", "diagnoses"])
    gold = verifier.canonical("diagnosis: gout; treatment: rest")
    with pytest.raises(UserError, match="no gold answer of the dataset has the role 'diagnoses'"):
        verifier.verify(["It is gout."], [gold])


@given(completions=st.lists(st.text() | st.text(alphabet="apendicitsom -:*#|.,;?\n")))
def test_every_completion_gets_one_verdict(completions: list[str]) -> None:
    found = VERIFIER.verify(completions, [GOLD] * len(completions))
    assert len(found) == len(completions)
    assert all(verdict.reward is not None and 0 <= verdict.reward <= 1 for verdict in found)


def seconds(text: str) -> float:
    start = time.process_time()
    judge(text, verifier=EXCLUSIVE)
    return time.process_time() - start


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "no ",
            "not the x ",
            ".",
            ",",
            "a, ",
            "\n",
            " \n",
            "It is a. ",
            "'",
            "a",
            "appendicitis ",
        ),
        *(
            "appendicitis ",
            "appendicitis, ",
            "appendicitis or ",
            "may be appendicitis, ",
            "- a\n",
            "a: ",
            "x, y: ",
        ),
        *("|a|b|\n", "# a\n", "a = "),
    ],
)
def test_time_grows_linearly(unit: str) -> None:
    small, large = (
        min(seconds(unit * (size // len(unit))) for _ in range(2)) for size in (20_000, 320_000)
    )
    assert large < 16 * 4 * max(small, 2e-3)


def test_bad_gold_never_becomes_a_zero() -> None:
    assert judge("It is appendicitis.", "").reward is None
