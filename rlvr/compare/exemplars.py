"""What each exemplar is worth: accuracy with all of them less accuracy without it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.compare import differences
from rlvr.compare.answers import read_shares
from rlvr.compare.differences import Difference
from rlvr.errors import UserError
from rlvr.evaluation.left_out import Asked, ask_without_each
from rlvr.evaluation.statistics import holm
from rlvr.formatting import p_value, percent
from rlvr.result import write_atomic

if TYPE_CHECKING:
    from rich.console import Console

FILE = "exemplars.json"
SHOWN = 44  # characters of a question in the table


@dataclass(frozen=True)
class Worth:
    """Of exemplar `number`, from 1: `accuracy` is without it, `gain` what it adds. `p_value` is
    Holm's, over the exemplars of one model."""

    phase: str
    number: int
    question: str
    accuracy: float
    gain: Difference
    p_value: float


def present(
    runs: Sequence[Path], shots: Sequence[int] | None, n: int | None, console: Any = None
) -> None:
    """Ask the models of one run, print the table and write it as `exemplars.json` beside them."""
    from rich.console import Console

    if len(runs) > 1 or len(shots or ()) > 1:
        raise UserError(
            "--leave-one-out takes one run and one number of shots: rlvr evaluate "
            f"{runs[0]} --leave-one-out --shots 8"
        )
    (run,) = runs
    found = worths(run, ask_without_each(run, shots[0] if shots else None, n))
    write_atomic(run / FILE, json.dumps([asdict(worth) for worth in found], indent=2) + "\n")
    console = console or Console()
    _print(found, console)
    console.print(f"as data: {run / FILE}", soft_wrap=True, markup=False, highlight=False)


def worths(run: Path, asked: Sequence[Asked]) -> list[Worth]:
    """Paired on the questions that both could judge, of the base model first."""
    found: list[Worth] = []
    for phase in dict.fromkeys(a.phase for a in asked):
        (whole,) = (a for a in asked if a.phase == phase and a.number is None)
        ours = read_shares(run, phase, whole.name)
        without = [a for a in asked if a.phase == phase and a.number is not None]
        gains = [differences.of_pairs(ours, read_shares(run, phase, a.name)) for a in without]
        adjusted = holm([gain.p_value for gain in gains if gain])
        found += [
            Worth(phase, a.number, a.exemplar.question, a.score.accuracy, gain, p)
            for a, gain, p in zip(without, gains, adjusted, strict=True)
            if a.number and a.exemplar and gain
        ]
    return found


def _print(found: Sequence[Worth], console: "Console") -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name, justify in (("model", "left"), ("exemplar", "left"), ("without it %", "right"),
                          ("adds, points", "right"), ("p", "right")):  # fmt: skip
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for worth in found:
        gain = worth.gain
        table.add_row(
            worth.phase,
            f"{worth.number} {worth.question[:SHOWN]}",
            percent(worth.accuracy),
            rf"{100 * gain.mean:+.1f} \[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]",
            p_value(worth.p_value),
        )
    n = max((worth.gain.n for worth in found), default=0)
    console.print(
        f"\nwhat each exemplar adds to the accuracy [95 % interval], n = {n} questions; p of the "
        "paired test, Holm's over the exemplars of a model",
        style="bold", highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    console.print(table)
