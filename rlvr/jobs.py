"""`rlvr jobs`: the jobs of all sweeps, and those that run on SageMaker.

AWS and Hydra are imported when an action runs, not for --help.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rlvr.manifest import Job, Manifest

ACTIONS = {
    "list": "every sweep, or the jobs of one as its record has them",
    "status": "jobs of a sweep, as SageMaker has them now",
    "logs": "print the log of a job; -f follows it to its end",
    "watch": "go on with a detached sweep: collect what has ended, submit what waits",
    "stop": "stop the running jobs of a sweep, and give back instances kept warm",
    "collect": "take the results of jobs that have ended into the sweep's record",
    "cost": "what each job has cost",
    "cleanup": "delete a sweep's files on S3, or what no record knows, after showing it",
}
SWEEP = "a sweep's directory, its s3:// URI, `last`, or its id where the directory is lost"


def add_parser(commands: Any) -> None:
    """Add `jobs` with its subcommands to the `rlvr` command."""
    top = commands.add_parser(
        "jobs", help="jobs of all sweeps; on SageMaker: watch, logs, stop, collect, cost, prices"
    )
    actions = top.add_subparsers(dest="action", required=True, metavar="ACTION")
    prices = actions.add_parser("prices", help="the price table, and how old it is")
    prices.add_argument("--refresh", action="store_true", help="ask AWS's price list first")
    prices.add_argument("--region", help="whose prices; else AWS_REGION")
    prices.set_defaults(run=_prices)
    for name, help_text in ACTIONS.items():
        action = actions.add_parser(name, help=help_text, description=help_text)
        unnamed = None if name in ("list", "cleanup") else "last"
        action.add_argument("sweep", nargs="?", default=unnamed, help=SWEEP)
        action.add_argument("--job", type=int, action="append", help="only this index; repeatable")
        action.add_argument("--region", help="where to look by id; else AWS_REGION")
        _add_options(name, action)
        action.set_defaults(run=_run)


def _add_options(name: str, action: argparse.ArgumentParser) -> None:
    if name == "list":
        action.add_argument(
            "--remote", action="store_true", help="also what SageMaker has and no record knows"
        )
    if name == "logs":
        action.add_argument("-f", "--follow", action="store_true")
    if name == "watch":
        action.add_argument("--once", action="store_true", help="as far as it goes now, for cron")
    if name in ("stop", "cleanup"):
        action.add_argument("-y", "--yes", action="store_true", help="do not ask")
    if name == "collect":
        action.add_argument("--into", type=Path, help="where to, when the directory is lost")


def _prices(chosen: argparse.Namespace) -> None:
    from rlvr.launchers.sagemaker import commands

    commands.prices(chosen)


def _run(chosen: argparse.Namespace) -> None:
    if chosen.action == "list" and not _listed(chosen):
        return
    from rlvr.launchers.sagemaker import commands

    commands.run(chosen)


def _listed(chosen: argparse.Namespace) -> bool:
    """Print what records say; true where SageMaker has more to say of it."""
    from rlvr import manifest
    from rlvr.paths import output_dir

    sweeps = output_dir() / "sweeps"
    if chosen.sweep is None:
        print_sweeps(manifest.readable(sweeps))
        return bool(chosen.remote)
    here = chosen.sweep == "last" or any(
        p.is_dir() for p in (Path(chosen.sweep), sweeps / chosen.sweep)
    )
    record = manifest.load(manifest.find(chosen.sweep)) if here else None
    if record is None or record.launcher == "sagemaker":
        return True
    print_jobs(record)
    return False


def _table(columns: "Sequence[str]", rows: "Iterable[Sequence[str]]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def print_jobs(record: "Manifest") -> None:
    """A line for each job: its state, where it is, what came of it."""
    _table(
        ("job", "state", "where", "result", "what differs"),
        [
            (f"#{job.index}", str(job.true_state()), _where(job), _outcome(job), job.name)
            for job in record.jobs
        ],
    )


def _where(job: "Job") -> str:
    if job.remote is not None:
        return str(job.remote.get("job_id") or job.remote.get("name") or "")
    return f"process {job.pid}" if job.pid else ""


def _outcome(job: "Job") -> str:
    if job.error:
        return job.error.strip().partition("\n")[0]
    return "" if job.value is None else f"{job.value:.4g}"


def print_sweeps(found: "dict[Path, Manifest]") -> None:
    """A line for each sweep, the newest last: where, launcher, states, cost."""
    _table(
        ("sweep", "launcher", "jobs", "cost"),
        [
            (path.name, record.launcher, counts(record), _cost(record))
            for path, record in sorted(found.items(), key=lambda item: item[1].created)
        ],
    )


def counts(record: "Manifest") -> str:
    """`1 running, 3 finished`."""
    from rlvr.states import State

    states = [job.true_state() for job in record.jobs]
    return ", ".join(f"{states.count(state)} {state}" for state in State if state in states)


def _cost(record: "Manifest") -> str:
    costs = [job.spent + ((job.remote or {}).get("cost") or 0.0) for job in record.jobs]
    return f"${sum(costs):,.2f}" if any(costs) else ""
