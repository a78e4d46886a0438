"""The check before training: what it has found, how it is shown, and when training is refused.

docs/health.md, "Before training", says what is tried: `gold_answers` needs no model,
`base_rollouts` samples from it.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.errors import UserError
from rlvr.formatting import number
from rlvr.ranks import is_main
from rlvr.result import write_atomic
from rlvr.safeguards.spoilt import GOLD, SPOILT

if TYPE_CHECKING:
    from rich.table import Table

FILE = "preflight.json"
TOTAL = "total"


@dataclass
class Preflight:
    """`paid` holds mean rewards by reward and way of answering; its `total` is the weighted sum.
    `control` names control rewards. `findings` are reasons not to train."""

    questions: int
    weights: dict[str, float]
    control: list[str]
    paid: dict[str, dict[str, float | None]] = field(default_factory=dict)
    time: str = ""  # that rewards and verifier take
    rollouts: dict[str, Any] | None = None
    findings: list[str] = field(default_factory=list)

    def publish(self, run_dir: Path | None = None) -> None:
        """Show what is new and write it to `run_dir`; one UserError with all findings."""
        if is_main():
            if run_dir is not None:
                text = json.dumps(asdict(self), indent=2, ensure_ascii=False)
                write_atomic(run_dir / FILE, text + "\n")
            self._show()
        self.refuse()

    def refuse(self) -> None:
        """One UserError with all findings, if there are any."""
        if self.findings:
            listed = "\n".join(f"  - {finding}" for finding in self.findings)
            raise UserError(
                f"the rewards failed the pre-flight check:\n{listed}\n"
                "  To train in spite of this: trainer.preflight=off"
            )

    def _show(self) -> None:
        """The mean rewards of right and of spoilt answers or, once there are any, of rollouts."""
        from rich.console import Console

        console = Console(highlight=False, soft_wrap=True)
        if self.rollouts is not None:
            console.print(self.rollouts["summary"])
        elif TOTAL in self.paid:
            title = f"pre-flight: mean rewards on {self.questions} training questions"
            console.print(title, self._table(), sep="\n")
            console.print(f"time: {self.time}\n")
            for name in self.control:
                console.print(f"{name}: control reward, not checked")

    def _table(self) -> "Table":
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD)
        table.add_column("answer")
        for name in self.paid:
            times = f" x {number(self.weights[name])}" if name in self.weights else ""
            table.add_column(f"{name}{times}", justify="right")
        for way in (GOLD, *SPOILT):
            if way in self.paid[TOTAL]:
                means = [rewards[way] for rewards in self.paid.values()]
                table.add_row(way, *("-" if m is None else f"{m:.2f}" for m in means))
        return table
