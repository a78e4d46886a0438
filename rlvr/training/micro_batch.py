"""The micro-batch that fitted the memory belongs to the run: another one would round otherwise."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from rlvr import estimate, ranks
from rlvr.errors import UserError
from rlvr.estimate import Plan
from rlvr.machine import GIB, Machine
from rlvr.result import write_atomic

if TYPE_CHECKING:
    from rlvr.data.load import Splits

log = logging.getLogger(__name__)
FILE = "micro_batch.json"


def settle(cfg: DictConfig, run_dir: Path, splits: "Splits", machine: Machine) -> Plan:
    """With the micro-batch that is set, else that of the run's beginning, else what fits here.

    Raises UserError where the run has begun with one that is too large for this machine.
    """
    file = run_dir / FILE
    plan = estimate.plan(cfg, splits, machine, ranks.count())
    chosen = cfg.trainer.micro_batch_size is None
    if chosen and file.is_file():
        cfg = cfg.copy()
        cfg.trainer.micro_batch_size = json.loads(file.read_text("utf-8"))["micro_batch_size"]
        begun = estimate.plan(cfg, splits, machine, ranks.count())
        if plan.batch.micro < begun.batch.micro:  # what a machine has begun with, it may go on with
            _refuse_more_than_there_is(begun)
        plan = begun
    else:
        if chosen and ranks.is_main():
            write_atomic(file, json.dumps({"micro_batch_size": plan.batch.micro}) + "\n")
    if not plan.fits and ranks.is_main():
        log.warning("this may not fit into memory: rlvr check says what would")
    return plan


def _refuse_more_than_there_is(plan: Plan) -> None:
    """An estimate may be off by a fifth: what is only tight gets a warning."""
    memory, there_is = plan.memory, plan.machine.memory
    if memory is None or there_is is None or memory.peak <= there_is:
        return
    raise UserError(
        f"this run began with {plan.batch.micro} completions in a micro-batch, which need about "
        f"{memory.peak / GIB:.1f} GiB; {plan.machine.name} has {there_is / GIB:.1f} GiB. A smaller "
        "micro-batch would round otherwise: go on where there is more memory, or start another run "
        "with trainer.micro_batch_size=N"
    )
