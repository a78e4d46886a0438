"""Code tasks: our own set passes its own tests, and bad rows are named."""

import json
from pathlib import Path

import pytest

from rlvr.data.exemplars import load_exemplars
from rlvr.data.sources import code
from rlvr.errors import UserError
from rlvr.verify.code import CodeVerifier

TASK = {
    "question": "Write f.",
    "solution": "def f(): return 1",
    "entry_point": "f",
    "tests": ["assert f() == 1"],
}


def test_every_embedded_solution_passes_its_own_tests_and_no_others() -> None:
    splits = code.load(path=None, seed=1)
    rows = splits["train"] + splits["test"]
    assert len(rows) >= 40
    assert len({row["question"] for row in rows}) == len(rows)
    names = ("entry_point", "tests", "stdin", "stdout")
    columns = {name: [row.get(name) for row in rows] for name in names}
    golds = [row["gold"] for row in rows]
    verifier = CodeVerifier(workers=4)
    assert all(v.correct for v in verifier.verify(golds, golds, **columns))
    others = golds[1:] + golds[:1]
    assert not any(v.correct for v in verifier.verify(others, golds, **columns))


def test_no_exemplar_is_an_embedded_task() -> None:
    exemplars = load_exemplars("package:code_tasks", 8)
    splits = code.load(path=None, seed=1)
    questions = {row["question"] for rows in splits.values() for row in rows}
    assert not questions & {exemplar.question for exemplar in exemplars}
    for exemplar in exemplars:
        compile(exemplar.answer, "exemplar", "exec")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tests": None}, "tests=None; expected entry_point"),
        ({"tests": ["f()"]}, "no test has an assert"),
        ({"tests": ["assert f("]}, "a test is not Python"),
        ({"entry_point": "f()"}, "entry_point='f\\(\\)'"),
        ({"stdin": ["1"], "stdout": []}, "equally many"),
        ({"context": 3}, "context=3"),
    ],
)
def test_a_row_that_cannot_be_judged_is_named(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in (TASK, {**TASK, **change})))
    with pytest.raises(UserError, match=rf"tasks\.jsonl:2: .*{message}"):
        code.load(path=str(file), seed=0)
