"""Errors that are the user's to mend: Hydra prints their message alone, without a traceback."""

import difflib
import functools
import inspect
import os
import sysconfig
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hydra.errors import CompactHydraException

from rlvr.paths import PACKAGE

# Where no user's own code is: our files, Python's own and the installed packages.
_LIBRARIES = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
NOT_THE_USERS = (*(f"{folder}{os.sep}" for folder in (PACKAGE, *_LIBRARIES)), "<frozen ")


class UserError(CompactHydraException):
    """Bad input. The message names the key, file or row, what was expected, and how to fix it."""


def failure(error: BaseException) -> str:
    """What a user's code did: `raised ValueError: ... (file.py:12)`, or `called sys.exit(1) (...)`.

    To be caught as `(Exception, SystemExit)`, so that Ctrl-C still ends the process.
    """
    if isinstance(error, SystemExit):
        code = "" if error.code is None else repr(error.code)
        return f"called sys.exit({code}) ({raised_at(error)})"
    message = f": {error}" if str(error) else ""
    return f"raised {type(error).__name__}{message} ({raised_at(error)})"


def raised_at(error: BaseException) -> str:
    """`file.py:12`, the last line of the user's own code that led to `error`.

    Of our own where there is none.
    """
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    users = [f for f in frames if not f.filename.startswith(NOT_THE_USERS)]
    frame = (users or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def defined_at(function: Callable[..., Any]) -> str:
    """`file.py:12`, where a function or the class of a callable object is written."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not hasattr(function, "__code__"):
        function = inspect.unwrap(type(function).__call__)
    code = getattr(function, "__code__", None)  # not of what is written in C
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code else "not in Python"


def nearest(word: str, words: Iterable[str]) -> str:
    """ ": did you mean ...?" or nothing."""
    close = difflib.get_close_matches(word, list(words), n=3, cutoff=0.6)
    return f": did you mean {' or '.join(close)}?" if close else ""
