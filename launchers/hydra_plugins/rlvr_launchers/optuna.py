"""`hydra/sweeper=rlvr_optuna`: Optuna proposes the runs of a sweep.

hydra-optuna-sweeper needs Optuna 2, whose studies cannot be kept in a database with the SQLAlchemy
that MLflow needs, and knows neither pruned trials nor how to go on with a sweep.
"""

from typing import TYPE_CHECKING, Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.rlvr_launchers._base import SweepLauncher

if TYPE_CHECKING:
    from rlvr.sweep.search import Search


class OptunaSweeper(Sweeper):
    search: "Search"

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from hydra.core.plugins import Plugins

        from rlvr.sweep.search import Search, SearchSettings

        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        assert isinstance(launcher, SweepLauncher)  # those of conf/launcher/ are
        self.search = Search(SearchSettings.read(self.settings), launcher, config)

    def sweep(self, arguments: list[str]) -> None:
        self.search.run(arguments)
