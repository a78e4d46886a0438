"""One sweep, from Hydra's overrides to the finished table. All launchers share it: each of them
brings a `Runner`, whose only work is to run the jobs it is given and to say when each ends.
"""

import os
import sys
import sysconfig
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from rlvr import manifest, tracking
from rlvr.config.pruner import PrunerConfig
from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep import compose, terminal, transport
from rlvr.sweep.command import is_own
from rlvr.sweep.interrupts import Interrupts
from rlvr.sweep.pruner import SweepPruner, settings_of
from rlvr.sweep.recorded import RecordedSweep
from rlvr.sweep.resume import Resume, refuse_others, wanted
from rlvr.sweep.runner import Runner
from rlvr.sweep.settings import Settings

if TYPE_CHECKING:
    from rlvr.sweep.data import SweepData

BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"


class Sweep(RecordedSweep):
    def __init__(
        self,
        runner: Runner,
        *,
        hydra_context: HydraContext,
        task_function: TaskFunction,
        config: DictConfig,
    ) -> None:
        directory = Path(str(config.hydra.sweep.dir))
        super().__init__(directory, transport.choose(task_function, hydra_context))
        self.runner = runner
        self.loader = hydra_context.config_loader
        self.master = config
        self.task_function = task_function
        self._earlier: list[Job] = []
        self._data: SweepData | None = None
        self.pruner = SweepPruner(PrunerConfig(), self.terminal.say)

    @property
    def asked(self) -> list[str]:
        return terminal.command_line()

    def launch(self, job_overrides: Sequence[Sequence[str]], first_index: int) -> list[JobReturn]:
        """Run the jobs and return their results in order; raises KeyboardInterrupt after a stop."""
        try:
            composed = self._composed(job_overrides, first_index)
            settings = self.runner.read(composed[0])
            if settings.resume is not None:
                self._refuse_others(composed, settings)
            self._validate(composed)
            self.pruner.take(settings_of(composed))
            self.runner.prepare(composed, self)
            self.notify = settings.notify
        except UserError:
            remove_if_new(self.directory)
            raise
        self.directory.mkdir(parents=True, exist_ok=True)
        with manifest.claim(self.directory), Interrupts() as interrupts:
            if self._record is None:
                self._open(settings)
            jobs = self._match(self._with_added(composed))
            try:
                self._run(jobs, interrupts)
            finally:
                self.finish(jobs, interrupts)
        if interrupts:
            raise KeyboardInterrupt
        return self._returns(jobs)

    def compose(self, job_overrides: Sequence[Sequence[str]], first_index: int) -> list[Job]:
        """The jobs, checked: UserError for launchers that are mixed and configs that are wrong.

        A task function that runs in its own worker module may bring its own `validate`.
        """
        jobs = self._composed(job_overrides, first_index)
        self._validate(jobs)
        return jobs

    def _composed(self, job_overrides: Sequence[Sequence[str]], first_index: int) -> list[Job]:
        jobs = compose.compose(self.loader, self.master, job_overrides, first_index)
        compose.check_one_launcher(self.master, jobs)
        return jobs

    def _validate(self, jobs: list[Job]) -> None:
        """Configurations, and the data of those that are right."""
        if isinstance(self.transport, transport.PickledTask):
            return
        if own := getattr(self.task_function, "validate", None):
            compose.validate(jobs, own)
            return
        from rlvr.sweep.data import SweepData

        compose.refuse_swept_name(self.loader, self.master)
        self._data = self._data or SweepData(here=self.runner.name == "local")
        compose.refuse(jobs, self._data.all_problems(jobs))
        if self.runner.name == "local":  # other machines may reach others
            from rlvr import reachable

            compose.validate(jobs, reachable.check)

    def rehearse(self, jobs: list[Job], parent: Path) -> None:
        """All that comes before the first start, with `parent` in the place of the real one.

        MLflow gives no ids, so that stand-ins are sent.
        """
        self.directory = parent / self.directory.name
        self._open(Settings())
        self._identify(jobs)
        self.record.jobs = jobs
        chosen = OmegaConf.select(jobs[0].config, "tracking")
        if chosen is not None and chosen.name == "mlflow":
            self.record.tracking.uri = tracking.resolve_uri(chosen.uri)
        for job in jobs:
            job.run_id = "0" * 32 if self.record.tracking.uri else None
            self._use_tracking_uri(job.config)
            job.directory.mkdir(parents=True)
            self.transport.write(job)

    def _refuse_others(self, composed: list[Job], settings: Settings) -> None:
        """Before their data is read, which may take a download: jobs that the sweep lacks."""
        if self._record is None:
            self._move_to(manifest.find(str(settings.resume), root=self.directory.parent))
        record = self._record or manifest.load(self.directory)
        grows = self._is_own_command(record) and not self._has_all_jobs_at_once()
        if not settings.extend and not grows:
            self._identify(composed)
            refuse_others(record, composed)

    def _move_to(self, directory: Path) -> None:
        """Hydra has made a new sweep directory by now; the sweeper moves to the old one with us."""
        made, self.directory = self.directory, directory
        with read_write(self.master.hydra):
            self.master.hydra.sweep.dir = str(directory)
        remove_if_new(made)

    def _open(self, settings: Settings) -> None:
        """Read the record of the sweep to go on with, or begin a new one."""
        if settings.resume is not None:
            self._reopen()
            return
        if "launcher" in self.master and (self.directory / manifest.FILE).exists():
            raise UserError(
                f"{self.directory} holds a sweep already: go on with it by "
                f"launcher.resume={self.directory}, or choose another run=NAME"
            )
        started = datetime.now(UTC)
        self._record = Manifest(
            sweep_id=f"{started:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}",
            name=compose.sweep_name(self.loader, self.master),
            created=started.isoformat(timespec="milliseconds"),
            launcher=self.runner.name,
            command=terminal.command_line(),
            cwd=str(Path.cwd()),
            metric=self.transport.metric,
        )

    def _reopen(self) -> None:
        self._record = manifest.load(self.directory)
        self._earlier = list(self._record.jobs)
        remote = any(job.is_remote() for job in self._earlier)
        if remote and self._record.launcher != self.runner.name:
            raise UserError(
                f"{self.directory} has jobs running on {self._record.launcher}: "
                f"resume it with launcher={self._record.launcher}"
            )

    def _is_own_command(self, record: Manifest) -> bool:
        return is_own(record, terminal.command_line()[2:])

    def _has_all_jobs_at_once(self) -> bool:
        """Else the record of a sweep that was ended early lacks the jobs still to be proposed."""
        sweeper = self.master.hydra.sweeper
        return sweeper._target_ == BASIC_SWEEPER and sweeper.max_batch_size is None

    def _with_added(self, composed: list[Job]) -> list[Job]:
        """By its own command a sweep goes on with the jobs that it was extended by as well."""
        self._identify(composed)
        if not (
            self._earlier and self._is_own_command(self.record) and self._has_all_jobs_at_once()
        ):
            return composed
        hashes, asked = [job.hash for job in composed], [wanted(job) for job in composed]
        added = [
            job.overrides
            for job in self._earlier
            if job.hash not in hashes and wanted(job) not in asked
        ]
        more = self.compose(added, len(composed)) if added else []
        self._identify(more)
        return composed + more

    def _identify(self, composed: list[Job]) -> None:
        for job in composed:
            compose.place(job, self.directory)
            job.hash = self.transport.hash(job)

    def _match(self, composed: list[Job]) -> list[Job]:
        """Decide what runs; the manifest and MLflow say so before anything starts."""
        resumed = bool(self._earlier)
        resume = Resume(
            self.record, self._earlier, self.result, self.runner.attachable, self.end_run,
            complete=(State.finished, State.pruned) if self.pruner.is_on else (State.finished,),
        )  # fmt: skip
        jobs = resume.match(composed)
        for job in jobs:
            compose.place(job, self.directory)
            job.directory.mkdir(parents=True, exist_ok=True)
        if resumed:
            self.terminal.say(f"Resuming {terminal.shown(self.directory)}\n{resume.describe()}")
        self.terminal.say(f"Sweep of {len(jobs)} jobs in {terminal.shown(self.directory)}")
        self.record.launcher = self.runner.name
        self.record.save(self.directory)
        tracking.create_runs(self.record, OmegaConf.select(jobs[0].config, "tracking"))
        self.record.save(self.directory)
        return jobs

    def _run(self, jobs: list[Job], interrupts: Interrupts) -> None:
        unfinished = [job for job in jobs if not job.state.complete]
        for job in unfinished:
            if job.state is State.pending and not job.is_remote():
                self._use_tracking_uri(job.config)
                self.transport.write(job)
        with self.terminal.watching(unfinished, self.record.metric):
            self.runner.run(unfinished, self, interrupts)

    def prune(self) -> None:
        self.pruner.round(self.record.jobs)

    def _use_tracking_uri(self, config: DictConfig) -> None:
        """The job writes where its run was created, whatever its own defaults would say."""
        if self.record.tracking.uri is not None:
            with read_write(config), open_dict(config):
                config.tracking.uri = self.record.tracking.uri

    def command(self, job: Job) -> list[str]:
        return self.transport.command(job.directory)

    def environment(self, job: Job) -> dict[str, str]:
        """What the job's process gets on top of its surroundings."""
        added = {"PYTHONPATH": importable_paths(), "PYTHONUNBUFFERED": "1"}
        added.update({str(k): str(v) for k, v in job.config.hydra.job.env_set.items()})
        if job.run_id is not None:
            added[tracking.RUN_ID_VARIABLE] = job.run_id
        return added | {tracking.RUN_NAME_VARIABLE: self.record.run_name(job)}

    def _returns(self, jobs: list[Job]) -> list[JobReturn]:
        failed = [job for job in jobs if not job.state.complete]
        message = terminal.failure(self.directory, failed, len(jobs))
        returns = []
        for job in jobs:
            result = self.result(job) or Result(job.state, error=job.error)
            returned = self.transport.job_return(job, result)
            if returned.status is not JobStatus.COMPLETED:
                details = result.traceback or result.error
                returned.return_value = transport.JobFailedError(message, details)
            returns.append(returned)
        return returns


def remove_if_new(directory: Path) -> None:
    """What Hydra makes before it hands over."""
    if directory.is_dir() and [path.name for path in directory.iterdir()] == ["multirun.yaml"]:
        (directory / "multirun.yaml").unlink()
        directory.rmdir()


def importable_paths() -> str:
    """What this process can import its jobs can too; the interpreter's own paths they have."""
    own = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    paths = [str(Path(p).absolute()) for p in sys.path if Path(p).is_dir()]
    return os.pathsep.join(dict.fromkeys(p for p in paths if not p.startswith(own)))
