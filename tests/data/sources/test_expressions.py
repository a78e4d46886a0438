"""Word problems as code: one expression, whose value the test asks."""

from rlvr.data.sources import expressions
from rlvr.verify.code import CodeVerifier

OPENING = "def answer():\n    return "


def test_every_gold_is_paid_and_exemplars_are_no_questions() -> None:
    splits = expressions.load(path=None, seed=3, train_size=30, test_size=10)
    assert [len(splits[name]) for name in ("train", "test", "exemplars")] == [30, 10, 8]
    rows = splits["train"] + splits["test"]
    questions = {row["question"] for row in rows}
    assert not questions & {row["question"] for row in splits["exemplars"]}
    columns = {name: [row[name] for row in rows] for name in ("entry_point", "tests")}
    verifier = CodeVerifier(workers=2, opening=OPENING)
    golds = [row["gold"] for row in rows]
    assert all(" " in gold for gold in golds)
    assert all(v.correct for v in verifier.verify(golds, golds, **columns))
    wrong = [f"{gold} + 1" for gold in golds]
    assert not any(v.correct for v in verifier.verify(wrong, golds, **columns))
    assert verifier.example(golds[0]) == golds[0]
