"""How many exemplars are shown, step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.config.schema import Schedule
from rlvr.data.schedule import ShotSchedule

STEPS = 16


def over_a_run(kind, start, end, until, chance=0.0, probability=1.0, steps=STEPS):
    schedule = ShotSchedule(kind, start, end, until, probability)
    return [schedule.shots(step / steps, chance) for step in range(steps)]


@pytest.mark.parametrize(
    ("kind", "start", "end", "until", "expected"),
    [
        # eight stages of one step each, and then none
        ("linear", 8, 0, 0.5, [8, 7, 6, 5, 4, 3, 2, 1, *[0] * 8]),
        ("linear", 8, 0, 1, [8, 8, 7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1]),
        ("linear", 0, 4, 0.5, [0, 0, 1, 1, 2, 2, 3, 3, *[4] * 8]),
        ("linear", 8, 6, 0.25, [8, 8, 7, 7, *[6] * 12]),
        ("step", 8, 0, 0.5, [*[8] * 8, *[0] * 8]),
        ("step", 8, 2, 0.3, [*[8] * 5, *[2] * 11]),
        # slow at both ends
        ("cosine", 8, 0, 1, [8, 8, 8, 8, 7, 7, 6, 5, 4, 4, 3, 2, 2, 1, 1, 1]),
        ("constant", 8, 8, 1, [8] * 16),
    ],
)
def test_the_shots_of_each_step(kind, start, end, until, expected):
    assert over_a_run(Schedule(kind), start, end, until) == expected


def test_by_chance_a_question_has_all_of_them_or_those_of_the_end():
    """From one half at the first step to nothing at the middle, in steps of a sixteenth."""
    found = {chance: over_a_run(Schedule.bernoulli, 8, 0, 0.5, chance, 0.5)
             for chance in (0.0, 0.2, 0.49, 0.5)}  # fmt: skip
    assert found[0.0] == [8] * 8 + [0] * 8
    assert found[0.2] == [8] * 5 + [0] * 11
    assert found[0.49] == [8] + [0] * 15
    assert found[0.5] == [0] * 16


@given(
    st.sampled_from([kind for kind in Schedule if kind is not Schedule.constant]),
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(1, 100),
    st.integers(1, 400),
    st.floats(0, 1, exclude_max=True),
)
def test_it_never_turns_back_and_ends_in_time(kind, start, end, percent, steps, chance):
    shots = over_a_run(kind, start, end, percent / 100, chance, steps=steps)
    assert shots[0] == start
    assert shots == sorted(shots, reverse=start > end)
    over = [count for step, count in enumerate(shots) if 100 * step >= percent * steps]
    assert set(over) <= {end}


def test_it_is_said_in_few_words():
    assert str(ShotSchedule.constant(4)) == "4 shots"
    assert str(ShotSchedule(Schedule.linear, 8, 0, 0.5)) == "8 to 0, linear until 50 %"
    bernoulli = ShotSchedule(Schedule.bernoulli, 8, 0, 1, 0.5)
    assert str(bernoulli) == "8 to 0, bernoulli from 50 % until 100 %"


def test_that_of_a_run(compose_config):
    fixed = ShotSchedule.of(compose_config("shots=4"))
    assert (fixed.moves, fixed.ends, fixed.most) == (False, [4], 4)
    rising = ShotSchedule.of(compose_config("shots=2", "shots_schedule=step", "shots_end=6"))
    assert (rising.moves, rising.ends, rising.most) == (True, [2, 6], 6)
