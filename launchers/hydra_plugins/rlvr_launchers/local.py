"""`hydra/launcher=rlvr_local`: every job of a sweep in its own process on this machine."""

from typing import TYPE_CHECKING

from hydra_plugins.rlvr_launchers._base import SweepLauncher, register

if TYPE_CHECKING:
    from rlvr.sweep.runner import Runner


class LocalLauncher(SweepLauncher):
    @staticmethod
    def make_runner() -> "Runner":
        from rlvr.launchers.local import LocalRunner

        return LocalRunner()


register("rlvr_local", LocalLauncher)
