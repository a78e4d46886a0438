"""Stops a run whose gradient is not finite or explodes, before the optimizer takes the step."""

import json
import math
import statistics
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlvr import ranks
from rlvr.errors import UserError

FILE = "health/bad_step.jsonl"
MEMORY = 50  # optimizer steps whose norms are remembered
FEW = 10  # norms before a median says anything
EXPLODED = 1000.0  # times the median
LARGE = 100.0  # at the least: where most groups have equal rewards, norms are next to zero
TAIL = 300  # characters of a prompt: the exemplars before the question are always the same


class GradientGuard:
    """Sees the rows of each optimizer step, and the norm of its gradient before clipping."""

    def __init__(self, run_dir: Path, tokenizer: PreTrainedTokenizerBase) -> None:
        self._file = run_dir / FILE
        self.tokenizer = tokenizer
        self._rows: list[dict[str, Any]] = []
        self._norms: deque[float] = deque(maxlen=MEMORY)

    def add(self, inputs: dict[str, Any], log_probs: Tensor) -> None:
        """A micro-batch as TRL computes it, and the log-probabilities (B, C) of its completions."""
        self._rows.append({**inputs, "log_probs": log_probs.detach()})

    def check(self, norm: float, step: int, learning_rate: float) -> None:
        """Raises UserError that names step and rows."""
        rows, self._rows = self._rows, []
        known = [value for value in self._norms if value > 0]
        usual = statistics.median(known) if len(known) >= FEW else math.inf
        if math.isfinite(norm) and not norm > max(EXPLODED * usual, LARGE):
            self._norms.append(norm)
            return
        listed = [*self._listed(rows)]
        bad = [row for row in listed if not row["finite"]]
        if ranks.is_main() or bad:
            self._write(listed)
        shown = max(bad or listed, key=lambda row: abs(row["advantage"]), default=None)
        raise UserError(
            f"training was stopped before optimizer step {step}: the gradient's norm is {norm:g}"
            f"{f', usually {usual:.2g}' if math.isfinite(usual) else ''}. {_in_words(listed, bad)}"
            f"{f', such as {_short(shown)}' if shown else ''}.\n"
            f"  Lower trainer.learning_rate (now {learning_rate:g}) or trainer.max_grad_norm, or "
            "look at those rows; the last checkpoint is from before."
        )

    def _listed(self, batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for batch in batches:
            finite = torch.isfinite(batch["log_probs"]).all(dim=1) & torch.isfinite(
                batch["advantages"]
            )
            for i, is_finite in enumerate(finite.tolist()):
                prompt = batch["prompt_ids"][i][batch["prompt_mask"][i].bool()]
                completion = batch["completion_ids"][i][batch["completion_mask"][i].bool()]
                yield {
                    "prompt": self.tokenizer.decode(prompt)[-TAIL:],
                    "completion": self.tokenizer.decode(completion),
                    "advantage": float(batch["advantages"][i]),
                    "finite": is_finite,
                }

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self._file.parent.mkdir(exist_ok=True)
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self._file.write_text("".join(lines), encoding="utf-8")


def _in_words(listed: list[dict[str, Any]], bad: list[dict[str, Any]]) -> str:
    if bad:
        return f"{len(bad)} of its {len(listed)} rows are not finite ({FILE} lists all)"
    return f"Its {len(listed)} rows are finite themselves ({FILE} lists them)"


def _short(row: dict[str, Any]) -> str:
    return f"{row['prompt'][-80:]!r} -> {row['completion'][:80]!r}"
