"""`hydra/launcher=rlvr_slurm`: every job of a sweep as a Slurm job."""

from typing import TYPE_CHECKING

from hydra_plugins.rlvr_launchers._base import SweepLauncher, register

if TYPE_CHECKING:
    from rlvr.sweep.runner import Runner


class SlurmLauncher(SweepLauncher):
    @staticmethod
    def make_runner() -> "Runner":
        from rlvr.launchers.slurm.runner import SlurmRunner

        return SlurmRunner()


register("rlvr_slurm", SlurmLauncher)
