"""What installed packages say below an error stays off the screen, whichever package it is."""

import subprocess
import sys
import textwrap

import pytest

SPEAKING = """
import logging, warnings, sys
log = logging.getLogger(__name__)
early = logging.getLogger("a.library.that.came.first")
def speak():
    warnings.warn("hint of a library", UserWarning)
    warnings.warn("old of a library", FutureWarning)
    for logger in (log, early):
        logger.warning("advice of a library")
        logger.error("error of a library")
    own = logging.StreamHandler(sys.stdout)
    other = logging.getLogger("with.a.handler.of.its.own")
    other.addHandler(own)
    other.propagate = False
    other.info("chatter of a library")
    other.warning("chatter of a library")
"""
RUN = """
import logging, sys, warnings
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
logging.getLogger("a.library.that.came.first")
from pathlib import Path
from rlvr import library_noise
library_noise._INSTALLED = ({site!r} + "/",)
library_noise._OTHERS = (*library_noise._OTHERS, {site!r} + "/")
library_noise.quiet_libraries(Path({run!r}))
sys.path[:0] = [{site!r}, {own!r}]
import noisy, mine
noisy.speak()
mine.speak()
logging.getLogger("rlvr.run").warning("a word of ours")
"""


@pytest.fixture
def spoken(tmp_path):
    """What reaches the user when a package and the user's own module say the same things."""
    for folder, name in (("site", "noisy"), ("own", "mine")):
        (tmp_path / folder).mkdir()
        text = SPEAKING.replace("library", "user") if name == "mine" else SPEAKING
        (tmp_path / folder / f"{name}.py").write_text(text)
    code = RUN.format(site=str(tmp_path / "site"), own=str(tmp_path / "own"), run=str(tmp_path))

    def run(*flags):
        command = [sys.executable, *flags, "-c", textwrap.dedent(code)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run


def test_only_errors_of_packages_reach_the_user(spoken, tmp_path):
    text = spoken()
    assert text.count("error of a library") == 2
    for kept in ("hint of a library", "advice of a library", "chatter of a library"):
        assert kept not in text
        assert kept in (tmp_path / "libraries.log").read_text()
    assert "old of a library" not in text


def test_the_users_own_code_is_heard(spoken):
    text = spoken()
    for heard in ("hint of a user", "advice of a user", "chatter of a user", "a word of ours"):
        assert heard in text


def test_who_asks_for_warnings_gets_them(spoken):
    text = spoken("-W", "always")
    assert "hint of a library" in text
    assert "advice of a library" in text
