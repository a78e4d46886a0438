"""MBPP as it is published, in rows of its form that we wrote ourselves."""

import json
from pathlib import Path
from typing import Any

import pytest

from rlvr.data.sources import mbpp
from rlvr.errors import UserError
from rlvr.sandbox.backends import Backend
from rlvr.sandbox.judging import judge_function
from rlvr.sandbox.runner import Execution, Limits, Sandbox, Task
from rlvr.verify.code import CodeVerifier
from rlvr.verify.verdict import Verdict

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
TREE = {
    "text": "Write a function to add up a tree.",
    "code": (
        "class Node:\r\n\tdef __init__(self, key):\r\n\t\tself.key, self.next = key, None\r\n"
        "def total(node):\r\n\treturn node.key + total(node.next) if node else 0"
    ),
    "task_id": 30,
    "test_setup_code": "root = Node(3) \r\nroot.next = Node(4)\r\nroot.next.next = Node(root.key)",
    "test_list": ["assert total(root) == 10", "assert (total(root.next)) == 7 "],
    "challenge_test_list": [],
}

# What the published asserts look like, and how people write such tests otherwise.
SOLUTIONS: dict[str, list[str]] = {
    "def f(a, b): return a + b": [
        "assert f(1, 2) == 3",
        "assert f(1,2)==(3) ",
        "assert 3 == f(1, b=2)",
        "assert f(0.1, 0.2) != 0.3",
        "assert f(f(1, 2), f(3, 4)) == 10",
        "assert f('a', 'b') == \"ab\", 'joined'",
        "assert f([1], [[2]]) == [1, [2]]",
        "assert f((1,), (2,)) == (1, 2)",
        "assert f(-5, 2)==-3",
        "assert f(2**70, 1) == 1180591620717411303425",
        "assert f(1.5, 1) == 2.5",
        "assert f(5, 1) == 6.0",
        "assert (f(1, 1)) == 2 and f(2, 2) == 4",
        "assert f(1, 1) < 3 <= f(2, 2)",
        "assert f(1j, 1) == 1 + 1j",
        "assert f(b'a', b'b') == b'ab'",
        "assert f(*[1, 2]) == f(**{'a': 2, 'b': 1}) == 3",
        "assert f(1, 2) == sum([1, 2])",
        "x = f(3, 4)\nassert x == 7",
        "for n in range(3):\n    assert f(n, n) == 2 * n",
    ],
    "def f(x): return x % 2 == 0": [
        "assert f(2) == True",
        "assert f(3) == False",
        "assert f(2) is True",
        "assert f(2)",
        "assert not f(3)",
        "assert (not f(3)) == True",
        "assert f(2) != f(3)",
        "assert all([f(2), f(4)])",
        "assert not any(f(n) for n in (1, 3))",
    ],
    "import re\ndef f(s): return re.search('b', s)": [
        "assert f('abc')",
        "assert not f('xyz')",
        "assert f('xyz') is None",
        "assert f('abc') is not None",
        "assert f('abc').start() == 1",
        "assert f('abc').group() == 'b'",
        "assert f('abc')[0] == 'b'",
    ],
    "def f(x): return {n: n * n for n in x}": [
        "assert f([1, 2]) == {1: 1, 2: 4}",
        "assert f([1, 2]) == ({2: 4, 1: 1})",
        "assert f([])=={}",
        "assert len(f([1, 2])) == 2",
        "assert f([3])[3] == 9",
        "assert sorted(f([2, 1])) == [1, 2]",
        "assert sorted(f([2, 1]).values()) == [1, 4]",
        "assert 3 in f([3])",
    ],
    "def f(x): return tuple(set(x))": [
        "assert set(f((3, 4, 3))) == set((4, 3))",
        "assert set(f([])) == set()",
        "assert sorted(f('aab')) == ['a', 'b']",
        "assert len(f('aab')) == 2",
    ],
    "def f(x): return {(n, n + 1) for n in x}": [
        "assert f([1, 2]) == {(2, 3), (1, 2)}",
        "assert f([1]) == set([(1, 2)])",
        "assert (1, 2) in f([1])",
    ],
    "def f(n):\n    for i in range(n):\n        yield i * 0.5": [
        "assert list(f(3)) == [0, 0.5, 1]",
        "assert set(f(2)) == set([0.5, 0])",
        "assert sum(f(3)) == 1.5",
        "assert next(f(3)) == 0",
        "assert [x for x in f(2)] == [0, .5]",
        "assert tuple(f(0)) == ()",
    ],
    "def f(x): return map(str, x)": [
        "assert list(f([1, 2])) == ['1', '2']",
        "assert ''.join(f([1, 2])) == '12'",
    ],
    "def f(x): return {'a': x}.items()": [
        "assert list(f(1)) == [('a', 1)]",
        "assert dict(f(1)) == {'a': 1}",
        "assert len(f(1)) == 1",
    ],
    "def f(x): return lambda y: x + y": ["assert f(1)(2) == 3", "assert f('a')(y='b') == 'ab'"],
    "class f:\n    def __init__(self): self.a = []\n    def push(self, x): self.a.append(x)": [
        "s = f()\ns.push(3)\nassert s.a == [3]",
        "t = f()\nt.a = [1, 2]\nt.push(0)\nassert len(t.a) == 3",
    ],
    "def f(r): return 4 / 3 * math.pi * r ** 3": [
        "assert math.isclose(f(10), 4188.790204786391, rel_tol=0.001)",
        "assert abs(f(10) - 4188.79) < 0.01",
        "assert round(f(10), 2) == 4188.79",
        "assert int(f(10)) == 4188",
        "assert f(10) == 4188.790204786391",
        "assert f(0)==0",
    ],
    "def f(x): return float(x)": [
        "assert math.isnan(f('nan'))",
        "assert f('inf') == float('inf')",
        "assert math.copysign(1, f('-0.0')) == -1",
        "assert f('nan') != f('nan')",
    ],
    "import sys\ndef f(x): return sys.getsizeof(x)": [
        "assert f(('A', 1)) == sys.getsizeof(('A', 1))"
    ],
    "def f(x, kind): return [n for n in x if type(n) is kind], kind": [
        "assert f([1, 'a', 1.5], int) == ([1], int)",
        "assert f([], str)[1] is str",
    ],
    "def f(g, x): return g(x)": [
        "assert f(max, [1, 2]) == 2",
        "assert f(sorted, 'ba') == ['a', 'b']",
    ],
    "def sum(a, b): return a - b": ["assert sum(10, 15) == -5", "assert sum(sum(3, 2), 1) == 0"],
    "from collections import Counter, OrderedDict\ndef f(x): return Counter(x)": [
        "assert f('aab') == {'a': 2, 'b': 1}",
        "assert f('aab') == Counter('aba')",
    ],
}


def row(code: str, tests: list[str], **others: Any) -> dict[str, Any]:
    return {**FULL, "code": code, "test_list": tests, **others}


def load(tmp_path: Path, *rows: dict[str, Any], **settings: Any) -> dict[str, list[dict[str, Any]]]:
    file = tmp_path / "mbpp.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return mbpp.load(path=str(file), seed=0, **settings)


def verdicts(rows: list[dict[str, Any]], codes: list[str]) -> list[Verdict]:
    columns = {n: [r[n] for r in rows] for n in ("entry_point", "tests", "context")}
    return CodeVerifier(workers=2).verify(codes, codes, **columns)


def test_both_forms_are_split_by_number_and_their_solutions_pass(tmp_path: Path) -> None:
    splits = load(tmp_path, FULL, SANITIZED, TREE)
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [1, 0, 2]
    rows = splits["train"] + splits["test"]
    assert [row["entry_point"] for row in rows] == ["sum", "roots", "total"]
    found = verdicts(rows, [row["gold"] for row in rows])
    assert all(verdict.correct for verdict in found), found


def test_the_sanitized_file_is_one_array(tmp_path: Path) -> None:
    file = tmp_path / "sanitized-mbpp.json"
    file.write_text(json.dumps([SANITIZED, {**SANITIZED, "task_id": 601}], indent=1))
    splits = mbpp.load(path=str(file), seed=0)
    assert [len(rows) for rows in splits.values()] == [1, 0, 1]
    file.write_text("{}")
    with pytest.raises(UserError, match="expected an array of objects"):
        mbpp.load(path=str(file), seed=0)


def test_every_usual_form_of_assert_is_judged(tmp_path: Path) -> None:
    """The solution passes each; one of two wrong ones fails it, but for `!=`."""
    forms = [(code, test) for code, tests in SOLUTIONS.items() for test in tests]
    assert len(forms) >= 80
    rows = load(tmp_path, *(row(f"import math\n{code}", [test]) for code, test in forms))["train"]
    right = verdicts(rows, [row["gold"] for row in rows])
    assert [test for (_, test), v in zip(forms, right, strict=True) if not v.correct] == []
    wrong = [
        verdicts(rows, [f"def f(*a, **k): return {value}\nsum = f"] * len(rows))
        for value in ("'??'", "None")
    ]
    paid = [test for (_, test), *v in zip(forms, *wrong, strict=True) if all(x.correct for x in v)]
    assert paid == ["assert f(0.1, 0.2) != 0.3"]


def test_expected_values_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    send = Execution._send

    def recorded(self: Execution, message: dict[str, Any]) -> None:
        sent.append(json.dumps(message))
        send(self, message)

    monkeypatch.setattr(Execution, "_send", recorded)
    sandbox = Sandbox(Backend.landlock, Limits())
    code = (
        "class P:\n  def __eq__(self, other): return True\ndef f(x): return iter([x]) if x else P()"
    )
    tests = [
        "assert set(f('a')) == {'secret'}",
        "assert f('a') == 'secret'",
        "assert f('') == 'secret'",
        "assert 'secret' == f('')",
        "assert 'secret' in f('a')",
        "assert f('') in ['secret']",
        "assert not f('') != 'secret'",
        "wanted = 'secret'\nassert wanted == f('')",
    ]
    outcome = judge_function(sandbox, Task(code, entry_point="f"), tests)
    sandbox.close()
    assert outcome.passed == 0
    assert len(sent) >= len(tests)
    assert "secret" not in "".join(sent)


def test_a_task_whose_solution_is_not_paid_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tests = ["assert f([1], [1]) == True"]
    unpaid = row("def f(a, b):\n    return 1", tests, task_id=414)
    assert not any(load(tmp_path, FULL, unpaid)["test"])
    assert "1 of 2 tasks is left out: 414" in caplog.text
    assert load(tmp_path, {**unpaid, "code": "def f(a, b): return True"})["test"]


def test_only_the_first_test_stands_in_the_question(tmp_path: Path) -> None:
    question = load(tmp_path, FULL)["train"][0]["question"]
    assert question.endswith("It must pass:\nassert sum([1, 2]) == 3")
    shown = load(tmp_path, FULL, shown_tests=0)["train"][0]["question"]
    assert shown == FULL["text"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"code": "x = 1"}, "no test calls a function"),
        ({"text": None}, "expected text"),
        ({"task_id": "700"}, "expected a number from 1 to 974"),
        ({"task_id": 975}, "expected a number from 1 to 974"),
        ({"test_list": ["assert sum([1]) == 1", "assert 1 + 1 == 2"]}, "whatever the candidate"),
        ({"test_list": ["assert sum([1]) ="]}, "not Python"),
        ({"test_list": ["sum([1]) == 1"]}, "no test has an assert"),
    ],
)
def test_a_row_that_cannot_be_judged_is_named(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UserError, match=rf"mbpp\.jsonl:2: .*{problem}"):
        load(tmp_path, FULL, {**FULL, **change})
