"""examples/medical_terms: what pays on the 64 questions, and that it runs as its README says."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from rlvr.check import check, compose
from rlvr.config.steps import planned_steps
from rlvr.data.load import load_splits
from rlvr.rewards.build import build_rewards
from rlvr.safeguards.gold_answers import check_golds
from rlvr.safeguards.spoilt import GOLD
from rlvr.verify.build import build_verifier

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "examples/medical_terms/conf"
ROWS = [json.loads(line) for line in (CONF.parent / "questions.jsonl").read_text().splitlines()]
NUMBERS = range(len(ROWS))

VERIFIER = build_verifier(
    OmegaConf.create(
        {
            "verifier": OmegaConf.load(CONF / "dataset/medical_terms.yaml").verifier,
            "prompt": {"answer_prefix": "In short:"},
            "loader": {},
        }
    )
)
GOLDS = [VERIFIER.canonical(row["terms"]) for row in ROWS]


def named(number: int, role: str) -> list[list[str]]:
    """The spellings of each term of a role."""
    terms = (term.split(": ") for term in GOLDS[number].split("; "))
    return [names.split(" | ") for of, names in terms if of == role]


def diagnosis(number: int) -> str:
    return named(number, "diagnosis")[0][0]


def treatment(number: int) -> str:
    return " and ".join(spellings[0] for spellings in named(number, "treatment"))


def finding(number: int) -> str:
    return named(number, "finding")[0][0] if named(number, "finding") else "a change"


def rewards(texts: Sequence[str]) -> list[float]:
    questions = [row["question"] for row in ROWS]
    return [float(v.reward or 0) for v in VERIFIER.verify(texts, GOLDS, question=questions)]


RIGHT = [
    "We see {finding} here. This is most likely {diagnosis}. It is an important disease, and it "
    "needs prompt care. The usual treatment is {treatment}.",
    "The patient has {finding} and {diagnosis}. The first step is {treatment}.",
    "Finding: {finding}. Diagnosis: {diagnosis}. Therapy: {treatment}",
    "**Finding:** {finding}\n\n**Diagnosis:** {diagnosis}\n\n**Treatment:** {treatment}",
    "- Finding: {finding}\n- Diagnosis: {diagnosis}\n- Treatment: {treatment}",
    "- {finding}\n- {diagnosis}\n- {treatment}",
    "1. Key finding: {finding}\n2. Most likely diagnosis: {diagnosis}\n3. Drug: {treatment}",
    "## Finding\n{finding}\n\n## Diagnosis\n{diagnosis}\n\n## Treatment\n{treatment}",
]


@pytest.mark.parametrize("form", RIGHT)
def test_a_right_answer_is_paid_in_full_however_it_is_laid_out(form: str) -> None:
    texts = [
        form.format(finding=finding(n), diagnosis=diagnosis(n), treatment=treatment(n))
        for n in NUMBERS
    ]
    paid = rewards(texts)
    assert [texts[n] for n in NUMBERS if paid[n] < 1] == []


def test_reference_answers_are_paid_in_full() -> None:
    assert rewards([row["reference"] for row in ROWS]) == [1.0] * len(ROWS)


def test_the_question_or_its_terms_alone_are_not() -> None:
    assert max(rewards([row["question"] for row in ROWS])) < 0.5
    spellings = [t.split(": ")[1].split(" | ") for g in GOLDS for t in g.split("; ")]
    bare = [" ".join(name for names in spellings for name in names)] * len(ROWS)
    assert max(rewards(bare)) == 0


SENTENCES = [
    "It is {0}, and it is treated with {1}.",
    "The signs suggest {0}, for which {1} is given.",
    "He has {0} and needs {1}.",
    "This points to {0}, so {1} should be used.",
    "The diagnosis is {0}, and the treatment is {1}.",
]
# In no gold: what another model might name.
FOREIGN = [
    ("diverticulitis", "colectomy"),
    ("sarcoidosis", "azathioprine"),
    ("endometriosis", "danazol"),
    ("myasthenia", "pyridostigmine"),
]


def guesses(number: int, count: int, foreign: bool) -> list[tuple[str, str]]:
    """The right pair of diagnosis and treatment among `count`, in random order."""
    draw = random.Random(f"{number}/{count}/{foreign}")
    others = [
        (diagnosis(n), treatment(n))
        for n in NUMBERS
        if diagnosis(n) != diagnosis(number) and treatment(n) != treatment(number)
    ]
    found = draw.sample(FOREIGN if foreign else others, count - 1)
    found.insert(draw.randrange(count), (diagnosis(number), treatment(number)))
    return found


@pytest.mark.parametrize("foreign", [False, True])
@pytest.mark.parametrize(("count", "most"), [(2, 0.5), (3, 0.25), (5, 0.15)])
def test_naming_many_pays_less_than_one_right_guess_in_as_many(
    count: int, most: float, foreign: bool
) -> None:
    """Each used to earn 0.8 to 1.0. By chance, one of `count` answers alone is right as often."""

    def in_sentences(pairs: list[tuple[str, str]]) -> str:
        return " ".join(SENTENCES[i].format(*pair) for i, pair in enumerate(pairs))

    def in_a_list(pairs: list[tuple[str, str]], joint: str) -> str:
        names = [joint.join(part) for part in zip(*pairs, strict=True)]
        return "It is {}. It is treated with {}.".format(*names)

    def in_notes(pairs: list[tuple[str, str]]) -> str:
        return "\n".join(
            f"Diagnosis {i}: {d}\nTreatment {i}: {t}" for i, (d, t) in enumerate(pairs, 1)
        )

    found = [guesses(n, count, foreign) for n in NUMBERS]
    sentences = rewards([f"There is {finding(n)}. {in_sentences(found[n])}" for n in NUMBERS])
    lists = rewards([f"There is {finding(n)}. {in_a_list(found[n], ' or ')}" for n in NUMBERS])
    commas = rewards([f"There is {finding(n)}. {in_a_list(found[n], ', ')}" for n in NUMBERS])
    notes = rewards([f"Finding: {finding(n)}\n{in_notes(found[n])}" for n in NUMBERS])
    for paid in (sentences, lists, commas, notes):
        assert sum(paid) / len(paid) < most
    for paid in (sentences, lists, notes):
        assert max(paid) < 1


DOUBTS = [
    "I doubt that it is {0}, and I would advise against {1}.",
    "It is unlikely that she has {0}. One would choose rest rather than {1}.",
    "The scan helps to rule out {0}. There is no need for {1}.",
    "Is it {0}? Should he be given {1}?",
    "If it were {0}, one would think of {1}.",
    "It is unclear whether this is {0}. It is too early to say whether {1} helps.",
    "It might be sarcoidosis, {0}, or lupus. Perhaps {1}, danazol, or colectomy would help.",
    "Either {0} or sarcoidosis is the cause. He needs either {1} or danazol.",
]


@pytest.mark.parametrize("form", DOUBTS)
def test_doubts_are_not_paid(form: str) -> None:
    assert max(rewards([form.format(diagnosis(n), treatment(n)) for n in NUMBERS])) < 0.2


def test_the_dataset_loads() -> None:
    cfg = compose(["experiment=medical_terms"], str(CONF))
    splits = load_splits(cfg.dataset, seed=1, verifier=build_verifier(cfg.dataset))
    assert len(splits.train) + len(splits.validation) + len(splits.test) == len(ROWS) == 64
    assert len({row["question"] for row in ROWS}) == len(ROWS)
    exemplars = splits.prompt_builder.exemplars
    texts = [f" {e.solution}\nIn short: {e.answer}" for e in exemplars]
    judged = VERIFIER.verify(texts, GOLDS[: len(texts)])
    assert len(texts) == 4
    assert all(verdict.format_ok for verdict in judged)


def test_the_preflight_check_finds_that_only_right_answers_are_paid() -> None:
    cfg = compose(["experiment=medical_terms"], str(CONF))
    splits = load_splits(cfg.dataset, seed=1, verifier=build_verifier(cfg.dataset))
    report = check_golds(build_rewards(cfg.rewards), splits, planned_steps(cfg, len(splits.train)))
    assert report.findings == []
    paid = report.paid["keywords"]
    assert (paid[GOLD], paid["negated"]) == (1, 0)
    assert (paid["another's"] or 0) < 0.1


def test_rlvr_check_passes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From another directory too: the example's paths are found in the project."""
    monkeypatch.chdir(tmp_path)
    small = ["model=tiny", "peft=none", "tracking=none"]
    check(["experiment=medical_terms", *small], config_dir=str(CONF))
    shown = " ".join(capsys.readouterr().out.split())
    assert "medical_terms: 43 train, 5 validation, 16 test questions, 4 shots" in shown
    assert "gold 1.00 1.00" in shown
    assert shown.endswith("All checks passed.")
