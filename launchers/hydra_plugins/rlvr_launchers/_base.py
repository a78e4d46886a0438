"""What every launcher of ours is to Hydra: a thin shell around rlvr's sweep controller.

Hydra imports the modules beside this one at every start: nothing heavy may be imported in them.
All settings live in the config's own `launcher` node (conf/launcher/*.yaml).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from rlvr.sweep.controller import Sweep
    from rlvr.sweep.runner import Runner


class SweepLauncher(Launcher):
    sweep: "Sweep"

    @staticmethod
    def make_runner() -> "Runner":
        raise NotImplementedError

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from rlvr.sweep.controller import Sweep

        self.sweep = Sweep(
            self.make_runner(),
            hydra_context=hydra_context,
            task_function=task_function,
            config=config,
        )

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        return self.sweep.launch(job_overrides, initial_job_idx)


def register(name: str, launcher: type[SweepLauncher]) -> None:
    """Let `hydra/launcher=NAME` choose this launcher."""
    node = {"_target_": f"{launcher.__module__}.{launcher.__name__}"}
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=node, provider="rlvr")
