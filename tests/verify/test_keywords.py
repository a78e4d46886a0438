"""Keyword rewards: what counts as saying it, and that listing words does not pay."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.data.sources.medical_terms import SHIPPED, load
from rlvr.errors import UserError
from rlvr.rewards.functions import build_rewards
from rlvr.sampling.stop import StopRule
from rlvr.verify.keywords import KeywordVerifier
from rlvr.verify.numeric import NumericVerifier
from rlvr.verify.verdict import Reason, Verdict

COMBINE = [["finding", "diagnosis"], ["treatment"]]
VERIFIER = KeywordVerifier(COMBINE)
GOLD = VERIFIER.canonical(
    "diagnosis: appendicitis; treatment: appendectomy | removal of the appendix"
)
STOP = StopRule(("\nQuestion:",))
ROWS = [json.loads(line) for line in SHIPPED.read_text().splitlines()]
EXEMPLARS = SHIPPED.parents[1] / "exemplars" / SHIPPED.name


def judge(text: object, gold: str = GOLD, verifier: KeywordVerifier = VERIFIER) -> Verdict:
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
        "It is appendicitis, and he needs an appendectomy.\nQuestion: Is it not appendicitis?",
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


CANDIDATES = [row["terms"].split("diagnosis: ")[1].split(";")[0].split(" | ")[0] for row in ROWS]
THERAPIES = [row["terms"].split("treatment: ")[1].split(";")[0].split(" | ")[0] for row in ROWS]


@pytest.mark.parametrize(
    "text",
    [
        "appendicitis appendectomy",
        "appendicitis, appendectomy",
        "Appendicitis. Appendectomy.",
        "appendicitis appendectomy removal of the appendix appendicitis",
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


def test_keywords_need_keyword_golds() -> None:
    config = {"keywords": {"_target_": "rlvr.verify.keywords.Keywords"}}
    with pytest.raises(UserError, match="rewards=keywords needs golds that list required terms"):
        build_rewards(config, verifier=NumericVerifier(), stop=STOP)
    (reward,), _ = build_rewards(config, verifier=VERIFIER, stop=STOP)
    assert reward([""], ["It is appendicitis, cured by appendectomy."], gold=[GOLD]) == [1.0]


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_shipped_questions(row: dict[str, str]) -> None:
    """A short textbook answer gets all; the question, or its terms alone, nothing near it."""
    gold = VERIFIER.canonical(row["terms"])
    assert judge(row["reference"], gold).correct, row
    assert judge(VERIFIER.example(gold), gold).correct, row
    assert judge(row["question"], gold).reward < 0.5
    terms = [spelling for term in gold.split("; ") for spelling in term.split(": ")[1].split(" | ")]
    assert judge(" ".join(terms), gold).reward == 0.0


def test_the_shipped_dataset_loads() -> None:
    splits = load(path=None, seed=1)
    assert len(splits["train"]) + len(splits["test"]) == len(ROWS) >= 60
    assert len({row["question"] for row in ROWS}) == len(ROWS)
    for line in EXEMPLARS.read_text().splitlines():
        exemplar = json.loads(line)
        assert VERIFIER.canonical(exemplar["answer"])
        text = f" {exemplar['solution']}\nIn short: {exemplar['answer']}"
        assert judge(text).format_ok


@given(completions=st.lists(st.text() | st.none() | st.binary()))
def test_every_completion_gets_one_verdict(completions: list[object]) -> None:
    found = VERIFIER.verify(completions, [GOLD] * len(completions))
    assert len(found) == len(completions)
    assert all(verdict.reward is not None and 0 <= verdict.reward <= 1 for verdict in found)


@given(text=st.text(alphabet="apendictsomy is not.,\n "), trailing=st.text())
def test_text_after_the_stop_does_not_matter(text: str, trailing: str) -> None:
    stopped = text + "\nQuestion:"
    assert judge(stopped) == judge(stopped + trailing)


def seconds(text: str) -> float:
    start = time.process_time()
    judge(text)
    return time.process_time() - start


@pytest.mark.parametrize(
    "unit",
    ["no ", "not the x ", ".", ",", "a, ", "\n", " \n", "appendicitis ", "It is a. ", "'", "a"],
)
def test_time_grows_linearly(unit: str) -> None:
    small, large = (
        min(seconds(unit * (size // len(unit))) for _ in range(2)) for size in (20_000, 320_000)
    )
    assert large < 16 * 4 * max(small, 2e-3)


def test_bad_gold_never_becomes_a_zero() -> None:
    assert judge("It is appendicitis.", "").reward is None


def test_the_option_exists() -> None:
    conf = Path(__file__).parents[2] / "conf"
    assert (conf / "dataset" / "medical_terms.yaml").is_file()
    assert (conf / "experiment" / "medical_terms.yaml").is_file()
