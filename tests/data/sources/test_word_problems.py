import itertools
import json
import operator
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr.data.exemplars import load_exemplars
from rlvr.data.sources import word_problems
from rlvr.errors import UserError

STEP = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)\.")
OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


@pytest.fixture(scope="module")
def rows():
    splits = word_problems.load(path=None, seed=3)
    return splits["train"] + splits["test"]


def recomputed(solution: str) -> int:
    """The value of a written solution; fails when a step is wrong or is not a step."""
    steps = STEP.findall(solution)
    assert " ".join(f"{a} {sign} {b} = {c}." for a, sign, b, c in steps) == solution
    for left, sign, right, result in steps:
        assert OPERATORS[sign](int(left), int(right)) == int(result), solution
    return int(steps[-1][3])


def numbers(text: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", text)]


def test_gold_is_what_the_written_steps_come_to(rows):
    for row in rows:
        assert row["gold"] == str(recomputed(row["solution"]))
        assert int(row["gold"]) >= 0


def test_a_solution_takes_its_numbers_from_the_question_or_an_earlier_step(rows):
    for row in rows:
        known = numbers(row["question"])
        for left, _, right, result in STEP.findall(row["solution"]):
            assert {int(left), int(right)} <= set(known), row
            known.append(int(result))


def test_every_number_of_the_question_is_used(rows):
    for row in rows:
        assert set(numbers(row["question"])) <= set(numbers(row["solution"])), row


def test_every_shape_occurs_with_one_to_three_steps(rows):
    assert {(row["shape"], row["steps"]) for row in rows} == {
        (shape.__name__, steps) for shape in word_problems.SHAPES for steps in (1, 2, 3)
    }
    assert all(len(STEP.findall(row["solution"])) == row["steps"] for row in rows)


def test_every_operation_occurs(rows):
    assert {sign for row in rows for _, sign, _, _ in STEP.findall(row["solution"])} == set("+-*")


def test_rows_hold_plain_json(rows):
    assert json.loads(json.dumps(rows)) == rows


def test_same_seed_same_rows_and_other_seed_others():
    load = word_problems.load
    assert load(path=None, seed=1) == load(path=None, seed=1)
    assert load(path=None, seed=1)["test"] != load(path=None, seed=2)["test"]


def test_a_smaller_split_is_the_start_of_a_larger_one():
    small = word_problems.load(path=None, seed=1, train_size=10, test_size=5)
    large = word_problems.load(path=None, seed=1)
    assert small == {"train": large["train"][:10], "test": large["test"][:5]}


def test_test_questions_are_distinct_and_no_seed_trains_on_them():
    splits = [word_problems.load(path=None, seed=seed) for seed in range(4)]
    tested = {row["question"] for split in splits for row in split["test"]}
    trained = {row["question"] for split in splits for row in split["train"]}
    assert not tested & trained
    for split in splits:
        assert len({row["question"] for row in split["test"]}) == 500
        assert len({row["question"] for row in split["train"]}) == 2000


def test_max_steps_and_largest_bound_the_problems():
    splits = word_problems.load(path=None, seed=0, max_steps=1, largest=8)
    rows = splits["train"] + splits["test"]
    assert {row["steps"] for row in rows} == {1}
    sums = [row for row in rows if row["shape"] == "changes"]
    assert max(n for row in sums for n in numbers(row["question"])) == 8


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(), largest=st.integers(6, 500), max_steps=st.integers(1, 3))
def test_any_setting_gives_sound_problems(seed, largest, max_steps):
    stream = word_problems.stream(seed, max_steps=max_steps, largest=largest)
    for row in itertools.islice(stream, 40):
        assert row["gold"] == str(recomputed(row["solution"]))
        assert int(row["gold"]) >= 0
        assert 1 <= row["steps"] <= max_steps


def test_exemplars_are_sound_and_never_asked():
    exemplars = load_exemplars("package:word_problems", 8)
    assert len({e.question for e in exemplars}) == 8
    assert {e.answer for e in exemplars} == {str(recomputed(e.solution)) for e in exemplars}
    for exemplar in exemplars:
        assert exemplar.answer == str(recomputed(exemplar.solution))
        # Their names are not the generator's, so no seed can ever draw one of them.
        assert exemplar.question.split()[0] not in word_problems.PRONOUNS


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"path": "my/problems"}, "dataset.path=my/problems"),
        ({"train_size": 0}, "dataset.loader.train_size=0"),
        ({"test_size": -1}, "dataset.loader.test_size=-1"),
        ({"max_steps": 4}, "dataset.loader.max_steps=4"),
        ({"largest": 5}, "dataset.loader.largest=5"),
    ],
)
def test_bad_settings_are_named(setting, named):
    with pytest.raises(UserError, match=re.escape(named)):
        word_problems.load(**{"path": None, "seed": 0, **setting})


def test_more_questions_than_there_are_is_an_error(monkeypatch):
    monkeypatch.setattr(word_problems, "PATIENCE", 20)
    with pytest.raises(UserError, match="Raise largest, or lower train_size"):
        word_problems.load(path=None, seed=0, max_steps=1, largest=6, train_size=100_000)
