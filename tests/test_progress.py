"""Progress: phases as they begin, one honest estimate of the end, and few lines where nobody
watches."""

import io
import json
import logging
import re
import time
from contextlib import redirect_stderr

import pytest

from rlvr.progress import TRAINING, Estimate, Later, Progress, in_words


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def estimate(clock):
    """Of a run with 10 steps and 20 questions, one sample each, before and after."""
    found = Estimate(clock)
    found.later = {
        TRAINING: Later(10, TRAINING, 1.0),
        "trained evaluation": Later(20, "base evaluation", 1 / 8),
    }
    return found


def step(estimate, clock, seconds, done, total):
    clock.now += seconds
    estimate.update(done, total)


def test_nothing_is_promised_before_a_step_was_measured(estimate, clock):
    estimate.begin("base evaluation", 20, 0)
    step(estimate, clock, 0, 0, 20)
    step(estimate, clock, 10, 10, 20)
    assert estimate.left() is None
    estimate.begin(TRAINING, 10, 0)
    step(estimate, clock, 60, 1, 10)  # compiles
    assert estimate.left() is None


def test_the_end_is_that_of_the_whole_run(estimate, clock):
    estimate.begin("base evaluation", 20, 0)
    step(estimate, clock, 0, 0, 20)
    step(estimate, clock, 40, 20, 20)
    estimate.begin(TRAINING, 10, 0)
    step(estimate, clock, 60, 1, 10)
    step(estimate, clock, 3, 2, 10)
    assert estimate.left() == pytest.approx(8 * 3 + 40)
    estimate.begin("saving the model", 0, 0)
    assert estimate.left() == pytest.approx(40)
    estimate.begin("trained evaluation", 20, 0)
    step(estimate, clock, 0, 0, 20)
    step(estimate, clock, 10, 5, 20)
    assert estimate.left() == pytest.approx(30)
    step(estimate, clock, 30, 20, 20)
    assert estimate.left() is None


def test_an_evaluation_that_was_known_is_estimated_by_the_steps(estimate, clock):
    estimate.begin("base evaluation", 20, 0)
    step(estimate, clock, 0, 20, 20)  # all answers are known
    estimate.begin(TRAINING, 10, 4)  # resumed
    step(estimate, clock, 60, 5, 10)
    step(estimate, clock, 8, 6, 10)
    assert estimate.left() == pytest.approx(4 * 8 + 20 * 8 / 8)


def test_an_expectation_that_is_used_up_says_nothing(estimate, clock):
    """No `0.0s left` that stands."""
    estimate.seconds_each = {"base evaluation": 1.0, TRAINING: 1.0}
    estimate.later.pop(TRAINING)
    estimate.begin("trained evaluation", 20, 0)
    clock.now += 5
    assert estimate.left() == pytest.approx(15)
    clock.now += 20
    assert estimate.left() is None


def test_the_news():
    assert in_words(12, 40, 125.3, {"reward": 0.614}) == "12/40  reward 0.614  ends in 2m 05s"
    assert in_words(12, 40, None, {}) == "12/40"
    assert in_words(0, 0, None, {}) == ""


def test_the_file_says_where_a_run_is(tmp_path):
    shown = Progress(tmp_path)
    shown.begin(TRAINING, 12_000)
    shown.update(1, 12_000, reward=0.5)
    time.sleep(0.01)
    shown.update(2, 12_000, reward=0.5)
    state = json.loads((tmp_path / "progress.json").read_text())
    assert (state["phase"], state["step"], state["max_steps"]) == (TRAINING, 2, 12_000)
    assert state["reward"] == 0.5
    assert state["ends_at"] > time.time()


def test_a_log_gets_each_phase_and_a_line_every_tenth_of_the_way(tmp_path, capsys):
    shown = Progress(tmp_path)
    shown.begin("data")
    shown.begin(TRAINING, 200)
    for done in range(1, 201):
        shown.update(done, 200, reward=done / 200)
    shown.end()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[-1] for line in lines[:2]] == ["data", "training"]
    assert 11 <= len(lines) <= 13
    assert re.match(r" +\d:\d\d  training 200/200  reward 1.000$", lines[-1])
    assert max(map(len, lines)) <= 80


def test_only_the_main_process_reports(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    shown = Progress(tmp_path)
    shown.begin(TRAINING, 1)
    shown.update(1, 1)
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "progress.json").exists()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def test_a_terminal_gets_a_bar_that_fits_and_keeps_what_is_over(tmp_path, terminal):
    with redirect_stderr(terminal), Progress(tmp_path) as shown:
        shown.begin("data")
        shown.begin("trained evaluation of word_problems", 2000)
        shown.update(1200, 2000, reward=0.25)
        shown.display.bars.refresh()
        logging.getLogger("x").warning("in between")
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    lines = [line for part in text.split("\n") for line in part.split("\r")]
    assert max(map(len, lines)) <= 80
    assert any("trained evaluation of word_problems ━" in line for line in lines)
    assert any(line.strip().endswith("1200/2000  reward 0.250") for line in lines)
    assert [line.strip() for line in lines if re.match(r" +0:00  data", line)] == ["0:00  data"]
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h"), "the cursor is back"


def test_a_dumb_terminal_gets_plain_lines(tmp_path, terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with redirect_stderr(terminal), Progress(tmp_path) as shown:
        shown.begin("data")
    assert terminal.getvalue() == "   0:00  data\n"
