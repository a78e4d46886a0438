"""`hydra/launcher=rlvr_sagemaker`: every job of a sweep as its own SageMaker training job."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from hydra_plugins.rlvr_launchers._base import SweepLauncher, register

if TYPE_CHECKING:
    from rlvr.sweep.runner import Runner


class SageMakerLauncher(SweepLauncher):
    @staticmethod
    def make_runner() -> "Runner":
        from rlvr.launchers.sagemaker.runner import SageMakerRunner

        return SageMakerRunner()

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        if OmegaConf.select(self.sweep.master, "launcher.dry_run"):
            from rlvr.launchers.sagemaker.dry_run import print_requests

            print_requests(self.sweep, job_overrides, initial_job_idx)
            raise SystemExit(0)  # there is nothing to return that a sweeper could use, nor below
        returned = super().launch(job_overrides, initial_job_idx)
        if self.sweep.goes_on:
            raise SystemExit(0)
        return returned


register("rlvr_sagemaker", SageMakerLauncher)
