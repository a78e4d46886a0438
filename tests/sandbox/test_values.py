"""Plain values survive the channel unchanged; whatever else comes out of it is a ValueError."""

import contextlib
import json
import os
import time
from collections import Counter, OrderedDict
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.sandbox import values

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary() | st.complex_numbers(allow_nan=False)
)  # fmt: skip
hashable = st.recursive(scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner))
plain = st.recursive(
    scalars | st.sets(hashable, max_size=4),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(hashable, inner, max_size=4)
    ),
    max_leaves=12,
)


def through(value: object) -> object:
    return values.decode(json.loads(json.dumps(values.encode(value))))


@given(plain)
def test_plain_values_come_out_as_they_went_in(value: Any) -> None:
    assert repr(through(value)) == repr(value) or through(value) == value
    assert type(through(value)) is type(value)
    assert values.equal(through(value), value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from("int float complex bytes ref named tuple dict set frozenset x".split()),
            inner,
            max_size=2,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_value_or_a_value_error(hostile: Any) -> None:
    with contextlib.suppress(ValueError):
        values.decode(hostile)


def test_subclasses_go_out_as_their_builtins() -> None:
    class Colour(IntEnum):
        RED = 3

    sent = [Colour.RED, OrderedDict(a=1), Counter("aab")]
    assert [type(through(value)) for value in sent] == [int, dict, dict]


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (1, True, False),
        (True, True, True),
        ([0], [False], False),
        ({"a": (1,)}, {"a": (True,)}, False),
        (1, 1.0, True),
        ([1, 2], (1, 2), False),
        ([1, [2]], [1, [2]], True),
        ({1, 2}, {2, 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({True}, {1}, False),
        ({True, 2}, {2, True}, True),
        (frozenset({0}), {False}, False),
        ({True: 0}, {1: 0}, False),
        ("1", 1, False),
    ],
)
def test_a_bool_equals_a_bool_alone(left: object, right: object, same: bool) -> None:
    assert values.equal(left, right) is same
    assert values.equal(right, left) is same


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


def test_depth_and_hashed_members_are_bounded() -> None:
    with pytest.raises(ValueError, match="nested"):
        values.encode(nested(1000))
    with pytest.raises(ValueError, match="nested"):
        values.decode(nested(1000))
    with pytest.raises(ValueError, match="more than"):
        values.decode({"set": list(range(values.MOST_HASHED + 1))})


def test_a_frame_is_bounded_in_size_and_time() -> None:
    reader, writer = os.pipe()
    values.send(writer, {"a": "é\ud800"})
    assert values.receive(reader) == {"a": "é\ud800"}
    os.write(writer, b"\xff\xff\xff\xff")
    with pytest.raises(ValueError, match="at most"):
        values.receive(reader)
    os.write(writer, b"\0\0\0\x09x")
    with pytest.raises(TimeoutError):
        values.receive(reader, time.monotonic() + 0.05)
    os.close(writer)
    with pytest.raises(EOFError):
        values.receive(reader)
