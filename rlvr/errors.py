"""Errors that are the user's to mend: Hydra prints their message alone, without a traceback."""

import difflib
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path

from hydra.errors import CompactHydraException

from rlvr.paths import PACKAGE

LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


class UserError(CompactHydraException):
    """Bad input. The message names the key, file or row, what was expected, and how to fix it."""


def raised_at(error: BaseException) -> str:
    """`file.py:12`, the last line of the user's own code that led to `error`.

    Of our own where there is none.
    """
    frames = traceback.extract_tb(error.__traceback__)
    users = [f for f in frames if not f.filename.startswith((str(PACKAGE), *LIBRARIES))]
    frame = (users or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def nearest(word: str, words: Iterable[str]) -> str:
    """ ": did you mean ...?" or nothing."""
    close = difflib.get_close_matches(word, list(words), n=3, cutoff=0.6)
    return f": did you mean {' or '.join(close)}?" if close else ""
