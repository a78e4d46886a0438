"""Training questions in the order of how well the base model answers them.

The pass rates are those of an evaluation's rows: `eval.split=train` asks the training questions.
"""

from collections.abc import Callable, Sequence

from rlvr.config.schema import TrainOrder
from rlvr.data.rows import Row, read_jsonl
from rlvr.errors import UserError
from rlvr.evaluation.identity import question_id
from rlvr.paths import find

# What comes first is lowest. A share of one half has the greatest variance.
FIRST: dict[TrainOrder, Callable[[float], float]] = {
    TrainOrder.easy_first: lambda rate: -rate,
    TrainOrder.hard_first: lambda rate: rate,
    TrainOrder.most_varied: lambda rate: abs(rate - 0.5),
}


def ordered(rows: Sequence[Row], order: TrainOrder, file: str | None) -> list[Row]:
    """`rows` with canonical golds; equals keep their order. UserError where a rate is missing."""
    if order is TrainOrder.shuffled:
        return list(rows)
    rates = pass_rates(file or "")
    missing = [row for row in rows if question_id(row) not in rates]
    if missing:
        raise UserError(
            f"dataset.pass_rates={file}: {len(missing)} of {len(rows)} training questions have no "
            f"pass rate in it, such as {missing[0]['question'][:60]!r}. Measure them with the same "
            "dataset and seed: python train.py eval.split=train eval=sampled eval.k=8 eval.n=null "
            "eval.after=false trainer.max_steps=1, then name its evaluations/base.jsonl"
        )
    return sorted(rows, key=lambda row: FIRST[order](rates[question_id(row)]))


def pass_rates(file: str) -> dict[str, float]:
    """The share of right samples by the question's id; those that could not be judged are left
    out."""
    rates = {}
    for where, row in read_jsonl(find(file)):
        if not isinstance(row.get("id"), str) or not isinstance(row.get("correct"), list):
            raise UserError(
                f"{where}: expected the rows of an evaluation, with id and correct; name "
                "RUN/evaluations/base.jsonl in dataset.pass_rates"
            )
        if None not in row.get("reward", ()):
            rates[row["id"]] = sum(row["correct"]) / len(row["correct"])
    return rates
