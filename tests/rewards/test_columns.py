"""The columns of a dataset, in words."""

import inspect
import re

from datasets import Dataset
from trl import GRPOTrainer

from rlvr.rewards.columns import BESIDES, LISTS, columns


def test_names_and_kinds() -> None:
    data = Dataset.from_dict(
        {
            "prompt": ["p"],
            "gold": ["12"],
            "steps": [3],
            "weight": [0.5],
            "checked": [True],
            "tags": [["a", "b"]],
            "source": [{"file": "x", "row": 1}],
            "note": [None],
        }
    )
    assert columns(data) == {
        "gold": "text",
        "steps": "whole number",
        "weight": "number",
        "checked": "true or false",
        "tags": "list of text",
        "source": "object",
        "note": "empty",
    }


def test_what_trl_passes_is_known() -> None:
    """A version of TRL that passes more is to be noticed."""
    source = inspect.getsource(GRPOTrainer._calculate_rewards)
    added = set(re.findall(r'\breward_kwargs\["(\w+)"\]', source))
    assert added == {*BESIDES, "environments"}
    assert all(f"{name}=" in source for name in LISTS if name != "verdicts")
