"""What the pre-flight check tells the user: a table, a sentence, `preflight.json`, or a refusal."""

from pathlib import Path
from typing import TYPE_CHECKING

from rlvr import ranks
from rlvr.formatting import number
from rlvr.safeguards.preflight import TOTAL, Preflight
from rlvr.safeguards.spoilt import GOLD, SPOILT

if TYPE_CHECKING:
    from rich.table import Table


def conclude(report: Preflight, run_dir: Path | None = None) -> None:
    """Show what is new in `report` and write it; UserError when it has findings."""
    if ranks.is_main():
        if run_dir is not None:
            report.write(run_dir)
        show(report)
    report.refuse()


def show(report: Preflight) -> None:
    """Print the mean rewards of right and of spoilt answers or, once there are any, of rollouts."""
    from rich.console import Console

    console = Console()
    if report.rollouts is not None:
        console.print(report.rollouts["summary"], highlight=False, soft_wrap=True)
    elif TOTAL in report.paid:
        title = f"pre-flight: mean rewards on {report.questions} training questions"
        console.print(title, _table(report), sep="\n", highlight=False)
        for name in report.control:
            console.print(f"{name}: control reward, not checked", highlight=False)


def _table(report: Preflight) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    table.add_column("answer")
    for name in report.paid:
        table.add_column(_heading(report, name), justify="right")
    for kind in (GOLD, *SPOILT):
        if kind in report.paid[TOTAL]:
            table.add_row(kind, *(_cell(paid[kind]) for paid in report.paid.values()))
    return table


def _heading(report: Preflight, name: str) -> str:
    weight = report.weights.get(name)
    return name if weight is None else f"{name} x {number(weight)}"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
