"""Short textbook questions whose golds are required terms (see `rlvr.verify.keywords`)."""

from pathlib import Path

from rlvr.data.rows import Row
from rlvr.data.sources import jsonl

SHIPPED = Path(__file__).with_name("medical_terms.jsonl")


def load(*, path: str | None, seed: int, test_fraction: float = 0.25) -> dict[str, list[Row]]:
    """Rows of the shipped file, or of `path` with the columns `question` and `terms`."""
    source = str(SHIPPED) if path is None else path
    return jsonl.load(path=source, seed=seed, answer="terms", test_fraction=test_fraction)
