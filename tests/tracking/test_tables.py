from hypothesis import given
from hypothesis import strategies as st

from rlvr.tracking.tables import flat_rows

NAMES = st.text(max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | NAMES
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def test_one_sample_each_is_one_row_each():
    row = {"question": "q", "gold": "4", "correct": [True], "completion": ["four"]}
    assert flat_rows([row]) == [
        {"question": "q", "gold": "4", "correct": True, "completion": "four"}
    ]


def test_several_samples_are_several_rows():
    row = {"question": "q", "correct": [True, False], "completion": ["4", "5"]}
    assert flat_rows([row]) == [
        {"sample": 0, "question": "q", "correct": True, "completion": "4"},
        {"sample": 1, "question": "q", "correct": False, "completion": "5"},
    ]


def test_other_lists_are_text():
    assert flat_rows([{"a": [1, 2]}]) == [{"a": "[1, 2]"}]
    assert flat_rows([{"a": [1, 2], "b": [1]}]) == [{"a": "[1, 2]", "b": "[1]"}]
    assert flat_rows([{"a": [], "b": {"x": "é"}}]) == [{"a": "[]", "b": '{"x": "é"}'}]


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=4))
def test_a_cell_is_a_scalar(rows):
    flat = flat_rows(rows)
    assert len(flat) >= len(rows)
    for row in flat:
        assert all(v is None or isinstance(v, str | int | float) for v in row.values())
