"""Short textbook questions whose golds are required terms (see `rlvr.rewards.keywords`)."""

from pathlib import Path

from rlvr.data import jsonl
from rlvr.data.load import Row

SHIPPED = Path(__file__).with_name("medical_terms.jsonl")


def load(*, path: str | None, seed: int, test_fraction: float = 0.25) -> dict[str, list[Row]]:
    """Rows of the shipped file, or of `path` with the columns `question` and `terms`."""
    source = str(SHIPPED) if path is None else path
    return jsonl.load(path=source, seed=seed, answer="terms", test_fraction=test_fraction)
