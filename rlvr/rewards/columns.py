"""What a reward may take: lists with one entry per completion, and what TRL passes besides."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset

LISTS = ("prompts", "completions", "completion_ids", "verdicts")  # and the dataset's columns
BESIDES = ("trainer_state", "log_extra", "log_metric")


def columns(data: "Dataset") -> dict[str, str]:
    """Name and kind of each column of a dataset: {"gold": "text", "steps": "whole number"}."""
    return {name: _kind(feature) for name, feature in data.features.items() if name != "prompt"}


def _kind(feature: object) -> str:
    from datasets import List, Value

    if isinstance(feature, dict):
        return "object"
    if isinstance(feature, List):
        return f"list of {_kind(feature.feature)}"
    if not isinstance(feature, Value):
        return type(feature).__name__
    names = {"string": "text", "large_string": "text", "bool": "true or false", "null": "empty"}
    numbers = {"int": "whole number", "uin": "whole number", "flo": "number"}
    return names.get(feature.dtype) or numbers.get(feature.dtype[:3]) or str(feature.dtype)
