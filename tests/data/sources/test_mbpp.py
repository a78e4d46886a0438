"""MBPP as it is published, in rows of its form that we wrote ourselves."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlvr.data.sources import mbpp
from rlvr.errors import UserError
from rlvr.verify.code import CodeVerifier

FULL = {
    "text": "Write a function to add up a list.",
    "code": "import math\r\ndef helper(x):\r\n\treturn x\r\ndef sum(a):\r\n\treturn math.fsum(a)",
    "task_id": 700,
    "test_setup_code": "",
    "test_list": ["assert sum([1, 2]) == 3", "assert math.isclose(sum([.1]), .1)"],
    "challenge_test_list": [],
}
SANITIZED = {
    "prompt": "Write a function to find the roots.",
    "code": "def roots(a): return [math.sqrt(x) for x in a]",
    "task_id": 20,
    "test_imports": ["import math"],
    "test_list": ["assert roots([4]) == [2]"],
}


def load(tmp_path: Path, *rows: dict[str, Any], **settings: Any) -> dict[str, list[dict[str, Any]]]:
    file = tmp_path / "mbpp.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return mbpp.load(path=str(file), seed=0, **settings)


def test_both_forms_are_split_by_number_and_their_solutions_pass(tmp_path: Path) -> None:
    splits = load(tmp_path, FULL, SANITIZED)
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [1, 0, 1]
    rows = splits["train"] + splits["test"]
    assert [row["entry_point"] for row in rows] == ["sum", "roots"]
    columns = {n: [r[n] for r in rows] for n in ("entry_point", "tests", "context")}
    golds = [row["gold"] for row in rows]
    assert all(v.correct for v in CodeVerifier(workers=2).verify(golds, golds, **columns))


def test_only_the_first_test_stands_in_the_question(tmp_path: Path) -> None:
    question = load(tmp_path, FULL)["train"][0]["question"]
    assert question.endswith("It must pass:\nassert sum([1, 2]) == 3")
    shown = load(tmp_path, FULL, shown_tests=0)["train"][0]["question"]
    assert shown == FULL["text"]


def test_a_row_without_its_function_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mbpp\.jsonl:1: no test calls a function"):
        load(tmp_path, {**FULL, "code": "x = 1"})
    with pytest.raises(UserError, match=r"mbpp\.jsonl:1: expected text"):
        load(tmp_path, {"question": "?"})
