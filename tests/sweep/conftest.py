"""A sweep in this process: real Hydra, and a runner whose jobs end at once as they are told."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.types import HydraContext, RunMode

from rlvr.launchers.local import LocalSettings
from rlvr.manifest import Job, load
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep.controller import Sweep
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.runner import Runner

CONF = Path(__file__).parents[1] / "launchers/app/conf"


class InstantRunner(Runner):
    """Jobs end as their config's `do` says; `ran` has what the manifest said as each started."""

    name = "local"
    settings = LocalSettings

    def __init__(self) -> None:
        self.ran: list[tuple[int, str]] = []
        self.stop_after: int | None = None

    def run(self, jobs: Sequence[Job], sweep: Sweep, interrupts: Interrupts) -> None:
        for job in jobs:
            if len(self.ran) == self.stop_after:
                interrupts.count = 1
                return
            sweep.started(job)
            states = [str(known.state) for known in load(sweep.directory).jobs]
            self.ran.append((job.index, " ".join(states)))
            if job.config.do == "ok":
                Result(State.finished, float(job.config.value)).write(job.directory)
            result = sweep.result(job) or Result(State.failed, error="told to fail")
            sweep.ended(job, result)


def task(cfg):
    raise AssertionError("the runner runs nothing")


task.worker_module = "fake_worker"
task.validate = lambda cfg: None


@pytest.fixture
def make_sweep(tmp_path, monkeypatch) -> Callable[..., Sweep]:
    """A sweep as Hydra would set it up for `overrides`, in `tmp_path/NAME`."""
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(tmp_path))

    def make(*overrides: str, name: str = "first", task_function: Callable = task) -> Sweep:
        monkeypatch.setattr("sys.argv", ["train.py", "-m", *overrides])
        with initialize_config_dir(str(CONF), version_base="1.3"):
            directory = f"hydra.sweep.dir={tmp_path}/sweeps/{name}"
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            master = hydra.compose_config(
                "config", [directory, *overrides], RunMode.MULTIRUN, from_shell=False
            )
            context = HydraContext(GlobalHydra.instance().config_loader(), Callbacks())
        return Sweep(
            InstantRunner(), hydra_context=context, task_function=task_function, config=master
        )

    return make
