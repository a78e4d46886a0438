"""`rlvr check ... -m`: a whole sweep as it would run, and what would be refused; starts nothing."""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlvr import config
from rlvr.check import composing, large, least_memory
from rlvr.compare.names import model_name, short_names, shown
from rlvr.config.steps import Steps, planned_steps
from rlvr.dotted_keys import split_overrides
from rlvr.errors import UserError
from rlvr.formatting import duration
from rlvr.manifest import Job
from rlvr.paths import output_dir
from rlvr.sweep import compose
from rlvr.sweep.data import Data, SweepData

if TYPE_CHECKING:
    from rlvr.data.load import Splits

COLUMNS = ("steps", "rollouts", "memory", "time", "instance", "cost")
RECORDED = 100  # results that are looked through for the time that a run takes


def preview(overrides: Sequence[str], *, config_dir: str | None = None) -> None:
    """Print a row for each job; UserError says once what is wrong with which of them."""
    from rich.console import Console

    with composing(overrides, config_dir) as every:
        jobs = compose_jobs(every)
    for job, name in zip(jobs, _names(jobs), strict=True):
        job.name = name
    launcher = str(jobs[0].config.launcher.get("name", "local"))
    data = SweepData(here=launcher == "local", examine=_check_rewards)
    found = data.all_problems(jobs)
    refused = {job.index for bad in found.values() for job in bad}
    found |= compose.problems(jobs, _check_launcher)
    rows = [_row(job, data.of(job), valid=job.index not in refused) for job in jobs]
    columns = [key for key in COLUMNS if any(row[key] for row in rows)]
    console = Console(highlight=False)
    console.print(_table(jobs, rows, columns))
    for line in _notes(jobs, data, columns):
        console.print(line, style="dim", markup=False)
    compose.refuse(jobs, found)
    print(f"All {len(jobs)} jobs passed.")


def compose_jobs(overrides: Sequence[str]) -> list[Job]:
    """As Hydra's own sweeper makes them; within `composing`."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.types import RunMode

    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    master = hydra.compose_config("config", list(overrides), RunMode.MULTIRUN, from_shell=False)
    sweeper, loader = master.hydra.sweeper, hydra.config_loader
    if not str(sweeper._target_).endswith(".BasicSweeper"):
        raise UserError(
            f"{sweeper._target_} proposes each job from the results of earlier ones, so that there "
            "is no list of jobs to show: check one configuration, without -m and without ranges"
        )
    given = [f"{key}={value}" for key, value in (sweeper.params or {}).items()]
    parser = OverridesParser.create(config_loader=loader)
    parsed = parser.parse_overrides([*given, *master.hydra.overrides.task])
    (batch,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    jobs = compose.compose(loader, master, batch, 0)
    compose.refuse_swept_name(loader, master)
    compose.check_one_launcher(master, jobs)
    return jobs


def _check_rewards(cfg: DictConfig, splits: "Splits") -> None:
    from rlvr.rewards.build import build_rewards
    from rlvr.safeguards.gold_answers import check_golds

    if cfg.trainer.preflight:
        steps = planned_steps(cfg, len(splits.train))
        check_golds(build_rewards(cfg.rewards), splits, steps).refuse()


def _check_launcher(job: Job) -> tuple[str, ...]:
    """What the launcher would refuse without asking a service."""
    launcher = get_class(job.config.hydra.launcher._target_)
    if make_runner := getattr(launcher, "make_runner", None):
        make_runner().read(job)
    return ()


def _table(jobs: Sequence[Job], rows: Sequence[dict[str, str]], shown_columns: list[str]) -> Any:
    """At 80 columns what differs may take several lines; the numbers stand in one."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("job", justify="right")
    table.add_column("what differs", overflow="fold")
    for key in shown_columns:
        table.add_column(key, justify="right", no_wrap=True)
    for job, row in zip(jobs, rows, strict=True):
        table.add_row(f"#{job.index}", job.name, *(row[key] or "?" for key in shown_columns))
    return table


def _names(jobs: Sequence[Job]) -> list[str]:
    """`shots=2 lr=3e-4`; of a single job its own name."""
    given = [split_overrides(job.overrides) for job in jobs]
    varied = [key for key in given[0] if len({overrides[key] for overrides in given}) > 1]
    short = short_names(varied)
    return [
        " ".join(f"{short[key]}={_value(job, key, overrides[key])}" for key in varied) or job.name
        for job, overrides in zip(jobs, given, strict=True)
    ]


def _value(job: Job, key: str, typed: str) -> str:
    """A group's option and text as they were typed, numbers as everywhere."""
    value = OmegaConf.select(job.config, key)
    return shown(value) if isinstance(value, int | float) else typed


def _row(job: Job, data: Data | None, *, valid: bool) -> dict[str, str]:
    """Empty where it is not known."""
    if not valid:
        return dict.fromkeys(COLUMNS, "")
    cfg = job.config
    counted = _steps(cfg, data)
    least = least_memory(cfg)
    seconds = _seconds(cfg, data)
    instance, cost = _price(job)
    return {
        "steps": str(counted.count) if counted else "",
        "rollouts": str(counted.rollouts) if counted else "",
        "memory": f"{large(least)}B" if least else "",
        "time": f"~{duration(seconds)}" if seconds else "",
        "instance": instance,
        "cost": cost,
    }


def _steps(cfg: DictConfig, data: Data | None) -> Steps | None:
    if data is None and cfg.trainer.max_steps < 0:
        return None
    return planned_steps(cfg, data.train if data else 0)


def _price(job: Job) -> tuple[str, str]:
    """SageMaker's instance, and the most that the job may cost on it."""
    if job.config.launcher.get("name") != "sagemaker":
        return "", ""
    from rlvr.launchers.sagemaker.pricing import describe
    from rlvr.launchers.sagemaker.training_job import Submission

    try:
        submission = Submission.of(job)
    except UserError:
        return "", ""
    most = submission.highest_cost
    return submission.places[0].instance_type, "" if most is None else f"<= {describe(most)}"


def _notes(jobs: Sequence[Job], data: SweepData, columns: Sequence[str]) -> Iterator[str]:
    """What the numbers are, and why some are missing."""
    if "memory" in columns:
        yield "memory: weights, gradients and optimizer; activations come on top"
    else:
        models = sorted({model_name(str(job.config.model.path)) for job in jobs})
        yield f"memory: not known, the files of {', '.join(models)} are not on this machine"
    if "time" in columns:
        yield _time_note(jobs, data)
    else:
        yield "time: not known, no finished run of the kind is recorded on this machine"
    if "cost" in columns:
        yield "cost: at most, by launcher.max_runtime; what a warm pool and disks add is in it"
    elif jobs[0].config.launcher.get("name") == "sagemaker":
        yield (
            "cost: not known; set launcher.region, and for other regions than us-east-1 ask AWS: "
            "rlvr jobs prices --refresh --region REGION"
        )
    if not any(data.of(job) for job in jobs):
        yield "data: not read, it is not on this machine or not right"


def _time_note(jobs: Sequence[Job], data: SweepData) -> str:
    seconds = [_seconds(job.config, data.of(job)) or 0 for job in jobs]
    at_once = min(jobs[0].config.launcher.get("n_jobs") or 1, len(jobs))
    whole = duration(sum(seconds) / at_once)
    return f"time: rough, by recorded runs of the kind on this machine; {whole} for all"


def _seconds(cfg: DictConfig, data: Data | None) -> float | None:
    """Of a run on this machine, by the time that earlier ones took for each completion."""
    if data is None or cfg.launcher.get("name", "local") != "local":
        return None
    known = _recorded().get(_kind(cfg))
    return median(known) * _completions(cfg, data.train, data.questions) if known else None


@cache
def _recorded() -> dict[str, list[float]]:
    """Seconds for each completion of the newest runs that finished here, by their kind."""
    files = [
        file
        for kind in ("runs/*", "sweeps/*/*")
        for file in output_dir().glob(f"{kind}/result.json")
    ]
    found: dict[str, list[float]] = {}
    for file in sorted(files, key=lambda file: file.stat().st_mtime)[-RECORDED:]:
        try:
            result = json.loads(file.read_text(encoding="utf-8"))
            cfg = config.load(file.with_name("config.yaml"))
            asked = max((result[phase] or {"n": 0})["n"] for phase in ("base", "trained"))
            completions = _completions(cfg, result["datasets"]["train"]["n"], asked)
            if result["status"] == "finished" and cfg.launcher.get("name", "local") == "local":
                found.setdefault(_kind(cfg), []).append(result["seconds"] / completions)
        except (OSError, ValueError, KeyError, TypeError, OmegaConfBaseException):
            continue  # of another version, or half written: it says nothing
    return found


def _completions(cfg: DictConfig, train: int, questions: int) -> int:
    steps = planned_steps(cfg, train)
    evaluations = int(cfg.eval.before) + int(cfg.eval.after)
    return steps.rollouts + questions * cfg.eval.k * evaluations


def _kind(cfg: DictConfig) -> str:
    """Runs of one kind take about the same time for a completion."""
    t = cfg.trainer
    return f"{cfg.model.path} {cfg.peft.method.value} {t.batch_size} {t.max_completion_length}"
