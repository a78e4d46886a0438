import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from rlvr.secret_patterns import HIDDEN
from rlvr.tracking.names import (
    LONGEST_PARAM,
    chunks,
    clean_name,
    clean_params,
    finite_metrics,
)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("eval/pass@4", "eval/pass_at_4"),
        ("reward (mean)", "reward _mean_"),
        ("/a//b/../c", "a/b/c"),
        ("..", "_"),
        ("train/loss", "train/loss"),
    ],
)
def test_clean_name(name: str, cleaned: str):
    assert clean_name(name) == cleaned


@given(st.text(max_size=60))
def test_mlflow_accepts_every_cleaned_name(name: str):
    _validate_metric_name(clean_name(name))


def test_only_finite_numbers_are_metrics():
    metrics = {"a": 1, "b": None, "c": math.nan, "d": math.inf, "e": True, "f": -0.5}
    assert finite_metrics(metrics) == {"a": 1.0, "e": 1.0, "f": -0.5}


def test_params_are_flat_and_printable():
    nested = {"trainer": {"learning_rate": 1e-5, "extra": {}}, "stop": ["\n\n"], "path": None}
    assert clean_params(nested) == {
        "trainer.learning_rate": "1e-05",
        "trainer.extra": "{}",
        "stop": '["\\n\\n"]',
        "path": "null",
    }


def test_long_values_are_cut_and_say_so():
    value = clean_params({"prompt": "x" * 9000})["prompt"]
    assert len(value) == LONGEST_PARAM
    assert value.endswith("... [9000 characters]")


def test_secrets_are_hidden():
    secret = "hf_" + "a1" * 17
    params = clean_params({"hub_token": "value", "note": f"use {secret}", "eos_token": "</s>"})
    assert params == {"hub_token": HIDDEN, "note": f"use {HIDDEN}", "eos_token": "</s>"}


@given(st.lists(st.integers()), st.integers(1, 7))
def test_chunks_lose_nothing(items: list[int], size: int):
    batches = list(chunks(items, size))
    assert [item for batch in batches for item in batch] == items
    assert all(0 < len(batch) <= size for batch in batches)
