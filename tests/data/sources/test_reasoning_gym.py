import sys

import pytest

from rlvr.data.sources.reasoning_gym import EXEMPLARS, load
from rlvr.errors import UserError

pytest.importorskip("reasoning_gym", reason="reasoning_gym is an optional package")


def small(task: str, **changes: object) -> dict[str, list[dict[str, object]]]:
    arguments = {"path": None, "seed": 1, "train_size": 6, "test_size": 4} | changes
    return load(task=task, **arguments)


def test_splits_are_seeded_and_apart() -> None:
    splits = small("chain_sum", train_size=200, test_size=100)
    asked = {name: {r["question"] for r in rows} for name, rows in splits.items()}
    assert {name: len(rows) for name, rows in splits.items()} == {
        "exemplars": EXEMPLARS,
        "test": 100,
        "train": 200,
    }
    assert not asked["train"] & asked["test"]
    assert not asked["exemplars"] & (asked["train"] | asked["test"])
    assert small("chain_sum", train_size=200, test_size=100) == splits
    other = small("chain_sum", seed=2, train_size=200, test_size=100)
    assert not {r["question"] for r in other["train"]} & asked["train"]


def test_a_small_task_gives_its_distinct_questions(caplog: pytest.LogCaptureFixture) -> None:
    config = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    splits = small("chain_sum", config=config, train_size=500, test_size=20)
    asked = [r["question"] for rows in splits.values() for r in rows]
    assert len(asked) == len(set(asked)) < 500
    assert "distinct train questions instead of 500" in caplog.text


def test_config_reaches_the_task() -> None:
    rows = small("chain_sum", config={"min_terms": 7, "max_terms": 7})["train"]
    assert all(str(r["question"]).count(" + ") + str(r["question"]).count(" - ") >= 6 for r in rows)


def test_composite_mixes_its_tasks() -> None:
    config = {"datasets": [{"name": "chain_sum"}, {"name": "mini_sudoku", "weight": 2}]}
    rows = small("composite", config=config, train_size=12)["train"]
    assert len({"Sudoku" in str(row["question"]) for row in rows}) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "chain_sums"}, r"no such task; did you mean chain_sum or"),
        ({"task": "qqqqqqqq"}, r"dataset\.loader\.task=qqqqqqqq: reasoning_gym has no such task"),
        ({"task": "rush_hour"}, r"gives no reference answer .*choose another task"),
        (
            {"task": "chain_sum", "config": {"min_term": 2}},
            r"min_term.*Its settings are: .*min_terms",
        ),
        ({"task": "chain_sum", "config": {"min_terms": -1}}, r"task chain_sum refuses it"),
        ({"task": "composite", "config": {"datasets": [{"nam": "x"}]}}, r"composite refuses it"),
        ({"task": "chain_sum", "train_size": 0}, r"dataset\.loader\.train_size=0"),
        ({"task": "chain_sum", "path": "x"}, r"dataset\.path=x: reasoning_gym generates"),
    ],
)
def test_bad_input(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small(**arguments)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(UserError, match=r"pip install 'rlvr\[reasoning-gym\]'"):
        small("chain_sum")
