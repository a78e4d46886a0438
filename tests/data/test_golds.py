"""All unreadable golds are named at once, or dropped and counted; slow verifiers are asked once."""

import logging
from fractions import Fraction

import pytest

from rlvr.data.golds import Gold, canonical, with_canonical_golds
from rlvr.errors import UserError
from rlvr.verify.numeric import NumericVerifier


def rows(*golds, split="train"):
    return [
        (f"{split}.jsonl:{n}", {"question": f"Q{n}", "gold": g}) for n, g in enumerate(golds, 1)
    ]


def accept(splits, exemplars=(), drop=False, verifier=None):
    shown = [Gold(answer, f"shown.jsonl, exemplar {n}") for n, answer in enumerate(exemplars, 1)]
    return with_canonical_golds(splits, shown, verifier or NumericVerifier(), drop)


def test_golds_become_canonical_and_columns_stay():
    splits = {"train": [("a:1", {"question": "Q", "gold": "1,080", "level": 3})], "test": rows(7)}
    assert accept(splits, exemplars=["$5"]) == {
        "train": [{"question": "Q", "gold": "1080", "level": 3}],
        "test": [{"question": "Q1", "gold": "7"}],
    }


def test_all_unreadable_golds_are_named_at_once_in_the_order_of_the_file():
    train = rows(*["x"] * 20, *range(5))
    train = train[10:] + train[:10]  # loaders shuffle
    with pytest.raises(UserError) as error:
        accept({"train": train, "test": rows("y", 2, split="test")}, exemplars=["z", "3"])
    lines = str(error.value).splitlines()
    assert lines[0] == "22 of 29 gold answers are not accepted by NumericVerifier:"
    assert lines[1].strip().startswith("shown.jsonl, exemplar 1: 'z': ")
    places = [line.strip().split(": ")[0] for line in lines[2:11]]
    assert places == ["test.jsonl:1"] + [f"train.jsonl:{n}" for n in range(1, 9)]
    assert lines[11].strip() == "and 12 more"
    assert "dataset.bad_golds=drop" in lines[12]
    assert len(lines) == 13


def test_a_long_gold_is_cut():
    with pytest.raises(UserError) as error:
        accept({"train": rows("x" * 500, 1)})
    assert "1 of 2 gold answers" in str(error.value)
    assert len(str(error.value)) < 1000


def test_dropped_rows_are_counted_by_split(caplog):
    splits = {"train": rows(1, "x", 3, "y"), "test": rows(5, 6, split="test")}
    with caplog.at_level(logging.WARNING):
        kept = accept(splits, drop=True)
    assert [row["gold"] for row in kept["train"]] == ["1", "3"]
    assert [row["gold"] for row in kept["test"]] == ["5", "6"]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("dropped 2 of 4 train rows")
    assert "train.jsonl:2: 'x'" in said


@pytest.mark.parametrize(
    ("splits", "exemplars"),
    [({"train": rows(1, "x")}, ["z"]), ({"train": rows(1), "test": rows("x", "y")}, [])],
)
def test_exemplars_and_whole_splits_are_never_dropped(splits, exemplars):
    with pytest.raises(UserError, match="are not accepted"):
        accept(splits, exemplars, drop=True)


class Slow(NumericVerifier):
    """Reads golds in one call, as a verifier with worker processes does."""

    calls = 0

    def canonicals(self, golds):
        self.calls += 1
        return [ValueError("odd") if gold == "x" else "1" for gold in golds]

    def canonical(self, gold):
        raise AssertionError("golds are to be read in one call")


def test_a_verifier_that_reads_many_golds_is_asked_once():
    verifier = Slow()
    with pytest.raises(UserError, match="1 of 103 gold answers") as error:
        accept({"train": rows(*range(100)), "test": rows("x", 3)}, ["4"], verifier=verifier)
    assert verifier.calls == 1
    assert ": 'x': odd" in str(error.value)


class Raises(NumericVerifier):
    def canonical(self, gold):
        return str(Fraction(1, gold))


class ReturnsNothing(NumericVerifier):
    def canonical(self, gold):
        return None


def test_a_fault_in_the_users_verifier_is_named_with_file_and_line():
    said = (
        r"verifier Raises raised ZeroDivisionError: .* \(test_golds\.py:\d+\), for the gold answer "
        r"0 of train\.jsonl:2"
    )
    with pytest.raises(UserError, match=said):
        accept({"train": rows(1, 0)}, verifier=Raises())
    with pytest.raises(UserError, match="canonical returned None for the gold answer 1 of x:1"):
        canonical([Gold(1, "x:1")], ReturnsNothing())
