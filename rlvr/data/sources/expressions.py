"""Word problems whose solution is code: one Python expression, which the tiny model can write."""

from rlvr.data.rows import Row
from rlvr.data.sources import word_problems

EXEMPLARS = 8
FUNCTION = "answer"


def load(
    *, path: str | None, seed: int, train_size: int = 1000, test_size: int = 200, largest: int = 12
) -> dict[str, list[Row]]:
    """One-step problems of `word_problems`: `gold` is the expression, the test asks its value.

    The exemplars are of other problems. Raises UserError as `word_problems.load`.
    """
    splits = word_problems.load(
        path=path,
        seed=seed,
        train_size=train_size + EXEMPLARS,
        test_size=test_size,
        max_steps=1,
        largest=largest,
    )
    shown = [{"question": row["question"], "solution": row["solution"], "answer": row["gold"]}
             for row in splits["train"][train_size:]]  # fmt: skip
    train, test = (list(map(_row, splits[name])) for name in ("train", "test"))
    return {"train": train[:train_size], "test": test, "exemplars": shown}


def _row(row: Row) -> Row:
    return {
        "question": row["question"],
        "gold": row["solution"].partition(" =")[0],
        "entry_point": FUNCTION,
        "tests": [f"assert {FUNCTION}() == {row['gold']}"],
    }
