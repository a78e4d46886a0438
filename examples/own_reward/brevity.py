"""A reward of your own: one function, lists in, a list out."""

from collections.abc import Sequence
from typing import Any


def brevity(completions: Sequence[str], limit: int = 200, **columns: Any) -> list[float]:
    """1 for a completion of at most `limit` characters, falling to 0 at twice that."""
    return [max(0.0, min(1.0, 2 - len(text) / limit)) for text in completions]
