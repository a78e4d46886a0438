"""Training questions by how well the base model answers them."""

import json

import pytest

from rlvr.data.load import load_splits
from rlvr.errors import UserError
from rlvr.evaluation.identity import question_id
from rlvr.verify.numeric import NumericVerifier

SMALL = ["dataset=word_problems", "dataset.loader.train_size=30", "shots=0"]


@pytest.fixture
def train(compose_config):
    def questions(*overrides):
        cfg = compose_config("~launcher", *SMALL, *overrides)
        return load_splits(cfg.dataset, seed=1, verifier=NumericVerifier()).train

    return questions


@pytest.fixture
def measured(train, tmp_path):
    """A file of four samples a question: none of them right, one, ..., in the order of training."""
    rows = [
        {"id": question_id(row), "correct": [i < n % 5 for i in range(4)], "reward": [0.0] * 4}
        for n, row in enumerate(train())
    ]
    file = tmp_path / "base.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize(
    ("order", "rates"),
    [
        ("easy_first", [4, 3, 2, 1, 0]),
        ("hard_first", [0, 1, 2, 3, 4]),
        ("most_varied", [2, (1, 3), (0, 4)]),
    ],
)
def test_orders(train, measured, order, rates):
    places = {row["question"]: place for place, row in enumerate(train())}
    asked = train(f"dataset.train_order={order}", f"dataset.pass_rates={measured}")["question"]
    found = [places[question] for question in asked]
    right = [rate if isinstance(rate, tuple) else (rate,) for rate in rates]
    assert found == [place for of in right for place in range(len(places)) if place % 5 in of]


def test_train_examples_takes_the_first_of_the_order(train, measured):
    one = train("dataset.train_order=most_varied", f"dataset.pass_rates={measured}",
                "dataset.train_examples=1")  # fmt: skip
    assert one["question"][:] == [train()["question"][2]]


def test_a_question_without_a_rate_says_how_to_measure_it(train, measured):
    lines = measured.read_text().splitlines(keepends=True)
    unjudged = json.loads(lines[0]) | {"reward": [None, 1.0, 1.0, 1.0]}
    measured.write_text("".join([json.dumps(unjudged) + "\n", *lines[3:]]))
    with pytest.raises(UserError, match=r"3 of 27 training questions have no pass rate.*eval\.spl"):
        train("dataset.train_order=easy_first", f"dataset.pass_rates={measured}")


def test_what_is_no_evaluation_is_named(train, tmp_path):
    file = tmp_path / "other.jsonl"
    file.write_text('{"question": "1 + 1?"}\n')
    with pytest.raises(UserError, match=r"other\.jsonl:1: expected the rows of an evaluation"):
        train("dataset.train_order=easy_first", f"dataset.pass_rates={file}")
