"""The arguments of `rlvr jobs`. AWS and Hydra are imported when an action runs, not for --help."""

import argparse
from pathlib import Path
from typing import Any

ACTIONS = {
    "list": "jobs of a sweep, as the manifest has them",
    "status": "jobs of a sweep, as SageMaker has them now",
    "logs": "print the log of a job; -f follows it to its end",
    "stop": "stop the running jobs of a sweep, and give back instances kept warm",
    "collect": "download results, logs and models of jobs that have ended",
    "cost": "what each job has cost",
    "cleanup": "delete a sweep's files on S3, after showing them",
}


def add_parser(commands: Any) -> None:
    """Add `jobs` with its subcommands to the `rlvr` command."""
    top = commands.add_parser(
        "jobs", help="SageMaker jobs: list, logs, stop, collect, cost, prices"
    )
    actions = top.add_subparsers(dest="action", required=True, metavar="ACTION")
    prices = actions.add_parser("prices", help="the price table, and how old it is")
    prices.add_argument("--refresh", action="store_true", help="ask AWS's price list first")
    prices.add_argument("--region", help="whose prices; else AWS_REGION")
    prices.set_defaults(run=_prices)
    for name, help_text in ACTIONS.items():
        action = actions.add_parser(name, help=help_text, description=help_text)
        action.add_argument(
            "sweep",
            nargs="?",
            default="last",
            help="a sweep's directory, `last` (the default), or its id when the directory is lost",
        )
        action.add_argument("--job", type=int, action="append", help="only this index; repeatable")
        action.add_argument("--region", help="where to look by id; else AWS_REGION")
        _add_options(name, action)
        action.set_defaults(run=_run)


def _add_options(name: str, action: argparse.ArgumentParser) -> None:
    if name == "logs":
        action.add_argument("-f", "--follow", action="store_true")
    if name in ("stop", "cleanup"):
        action.add_argument("-y", "--yes", action="store_true", help="do not ask")
    if name == "collect":
        action.add_argument("--into", type=Path, help="where to, when the directory is lost")


def _prices(chosen: argparse.Namespace) -> None:
    from rlvr.launchers.sagemaker import commands

    commands.prices(chosen)


def _run(chosen: argparse.Namespace) -> None:
    from rlvr.launchers.sagemaker import commands

    commands.run(chosen)
