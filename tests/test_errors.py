"""Messages lead to the user's own line."""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rlvr.errors import defined_at, failure, nearest, raised_at

CODE = """
import json
def f(text):
    return json.loads(text)
def leave(code):
    raise SystemExit(code)
class Callable:
    def __call__(self):
        assert False
"""


def error_of(function: Any, *arguments: Any) -> BaseException:
    try:
        function(*arguments)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.fixture(params=["mine.py", "rlvr_rewards.py"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A user's module; the second stands beside the package and begins like it."""
    file = tmp_path / request.param
    names: dict[str, Any] = {}
    exec(compile(CODE, str(file), "exec"), names)
    return names | {"name": request.param}


def test_the_users_line_is_named_not_the_librarys(own: Any) -> None:
    error = error_of(own["f"], "{")
    assert raised_at(error) == f"{own['name']}:4"
    assert failure(error).startswith("raised JSONDecodeError: Expecting")
    assert failure(error).endswith(f"({own['name']}:4)")


def test_a_file_that_only_begins_like_the_package_is_the_users() -> None:
    from rlvr.paths import PROJECT

    names: dict[str, Any] = {}
    exec(compile(CODE, str(PROJECT / "rlvr_rewards.py"), "exec"), names)
    assert raised_at(error_of(names["f"], "{")) == "rlvr_rewards.py:4"


def test_without_a_line_of_the_users_the_last_one_is_named() -> None:
    error = error_of(json.loads, "{")
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
    assert raised_at(error).startswith("decoder.py:")


@pytest.mark.parametrize(
    ("code", "said"), [(None, "sys.exit()"), (2, "sys.exit(2)"), ("no key", "sys.exit('no key')")]
)
def test_an_exit_is_told_as_one(own: Any, code: object, said: str) -> None:
    assert failure(error_of(own["leave"], code)) == f"called {said} ({own['name']}:6)"


def test_an_error_without_a_message(own: Any) -> None:
    assert failure(error_of(own["Callable"]())) == f"raised AssertionError ({own['name']}:9)"


def test_where_something_is_defined(own: Any) -> None:
    assert defined_at(own["f"]) == f"{own['name']}:3"
    assert defined_at(functools.partial(functools.partial(own["f"]), "x")) == f"{own['name']}:3"
    assert defined_at(functools.wraps(own["f"])(lambda: 0)) == f"{own['name']}:3"
    assert defined_at(own["Callable"]()) == f"{own['name']}:8"
    assert defined_at(own["Callable"]().__call__) == f"{own['name']}:8"
    assert defined_at(sys.exit) == "not in Python"


def test_the_nearest_word() -> None:
    assert nearest("brevty", ["brevity", "gold"]) == ": did you mean brevity?"
    assert nearest("x", ["brevity"]) == ""
