"""Targets are imported and checked, and every mistake gets one message."""

from pathlib import Path
from typing import Any

import pytest

from rlvr.errors import UserError
from rlvr.targets import import_target, parameter_problems, target_problems


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of a user's own, of which most cannot be imported."""
    files = {
        "my_targets": "class Box:\n    def open(self): ...\ndef brevity(): ...\npi = 3\n",
        "my_needy": "import numpy\nimport nothing_of_this_name\n",
        "my_typo": "\n\ndef f(:\n    pass\n",
        "my_error": "\nx = 1 / 0\n",
        "my_exit": "import sys\nsys.exit()\n",
        "my_package/__init__": "",
        "my_package/inner": "def f(): ...\n",
        "my_package/broken": "raise ImportError('no')\n",
    }
    for name, text in files.items():
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("my_targets.brevity", "brevity"),
        ("my_targets.Box", "Box"),
        ("my_targets.Box.open", "Box.open"),
        ("my_package.inner.f", "f"),
        ("trl.rewards.think_format_reward", "think_format_reward"),
    ],
)
def test_functions_and_classes_are_found(modules: None, path: str, name: str) -> None:
    assert import_target("rewards.b", path).__qualname__ == name


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, "rewards.b needs _target_: the dotted name of a Python function or class"),
        (3, "rewards.b needs _target_"),
        ("my_targets.brevty", "brevty: my_targets has no 'brevty': did you mean brevity?"),
        ("my_targets.Box.opn", ": my_targets.Box has no 'opn': did you mean open?"),
        ("my_targts.brevity", ": there is no module 'my_targts' on the Python path: did you mean"),
        ("my_package.iner.f", ": my_package has no 'iner'"),
        ("brevity", ": there is no module 'brevity' on the Python path"),
        ("my_targets", "=my_targets is neither a function nor a class"),
        ("my_targets.pi", "=my_targets.pi is neither a function nor a class"),
        ("my_targets..f", "=my_targets..f: expected a dotted name, such as"),
        ("", "=: expected a dotted name"),
        ("my targets.f", ": expected a dotted name"),
        ("my_needy.f", ": importing it raised ModuleNotFoundError: No module named "
                       "'nothing_of_this_name' (my_needy.py:2)"),
        ("my_typo.f", ": importing it raised SyntaxError: "),
        ("my_typo.f", "(my_typo.py:3)"),
        ("my_error.f", ": importing it raised ZeroDivisionError: division by zero (my_error.py:2)"),
        ("my_exit.f", ": importing it called sys.exit() (my_exit.py:2)"),
        ("my_package.broken.f", "raised ImportError: no (broken.py:1)"),
        ("builtins.max", "=builtins.max does not say what parameters it takes: wrap it"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said(modules: None, path: Any, message: str) -> None:
    with pytest.raises(UserError) as refused:
        import_target("rewards.b", path)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def plain(first, second=2): ...


def open_ended(first, **columns): ...


def problems(target: Any, *names: str, **how: Any) -> list[str]:
    node = {"_target_": f"my.{target.__name__}", "weight": 1, **dict.fromkeys(names)}
    return [*parameter_problems("x", node, target, **how)]


def test_parameters_of_what_is_called_once() -> None:
    assert problems(plain, "first") == []
    assert problems(plain, given=["first", "more"]) == []
    assert problems(plain) == ["x.first is not set: my.plain requires it"]
    assert problems(plain, "first", "secnd") == [
        "x.secnd is not a parameter of my.plain: did you mean second? It takes: first, second. "
        "Remove it (~x.secnd where another option has set it)"
    ]
    (unknown,) = problems(plain, "first", "q")
    assert unknown.startswith("x.q is not a parameter of my.plain. It takes: first, second.")
    assert problems(open_ended, "first", "anything") == []


def test_parameters_of_what_is_called_with_columns() -> None:
    assert problems(plain, all_at_once=False) == []
    (unknown,) = problems(open_ended, "frst", all_at_once=False)
    assert unknown.startswith("x.frst is not a parameter of my.open_ended: did you mean first?")


def test_a_node_is_checked_as_a_whole(modules: None) -> None:
    assert [*target_problems("x", {"_target_": "my_targets.brevity"})] == []
    assert [*target_problems("x", None)] == [*target_problems("x", {})]
    assert "needs _target_" in next(target_problems("x", {}))
    (unknown,) = target_problems("x", {"_target_": "my_targets.brevity", "q": 1}, given=["r"])
    assert "It takes: none" in unknown
