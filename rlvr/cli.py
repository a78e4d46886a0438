"""The `rlvr` command. Each subcommand imports what it needs when it runs, so `--help` is quick."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeAlias

from rlvr import __version__
from rlvr.states import State

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """As argparse, and with the nearest of the choices there are."""
        from rlvr.errors import nearest

        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        hint = nearest(choice[1], choice[2].replace("'", "").split(", ")) if choice else ""
        super().error(message + hint)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit code is 0, 1 after bad input, 130 after Ctrl-C.

    Without arguments: what there is to choose from.
    """
    top = parser()
    if not (sys.argv[1:] if arguments is None else arguments):
        top.print_help()
        return 0
    chosen, rest = top.parse_known_args(arguments)
    # argparse ends a list of values at the first flag; flags may stand anywhere on the line
    if "overrides" in chosen and not any(word.startswith("-") for word in rest):
        chosen.overrides += rest
    elif rest:
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if doing := getattr(chosen, "doing", None):  # at once: what follows loads libraries
        print(f"rlvr {chosen.command}: {doing} ...", file=sys.stderr, flush=True)
    from rlvr.errors import UserError

    try:
        chosen.run(chosen)
    except UserError as error:
        print(f"rlvr {chosen.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    top: argparse.ArgumentParser = Parser(
        prog="rlvr",
        description="Before train.py: check a configuration. After it: what to do "
        "with the runs and sweeps that it made.",
        epilog="Each command has --help of its own, such as rlvr compare --help.",
    )
    top.add_argument("--version", action="version", version=f"rlvr {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in COMMANDS:
        add(commands)
    return top


def _add_compare(commands: Commands) -> None:
    command = commands.add_parser(
        "compare",
        help="table, chart and MLflow links of a sweep",
        description="Print the verdict and a row for each recipe (runs that differ in their seed "
        "alone): what differs, base and trained accuracy with the 95 % interval, gain, p value, "
        "and how it does against the best. Write the table (Markdown, CSV, JSON) and the chart.",
    )
    command.add_argument(
        "targets",
        nargs="*",
        metavar="SWEEP",
        help="a sweep's directory or its name, `last` (the default), or directories of runs",
    )
    command.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only runs with this setting, such as shots=4 or lr=1e-5; may be given again",
    )
    command.add_argument("--state", choices=list(State), help="only runs in this state")
    forms = command.add_mutually_exclusive_group()
    for form in ("csv", "json", "markdown", "latex"):
        forms.add_argument(
            f"--{form}",
            dest="form",
            action="store_const",
            const=form,
            help=f"print the table as {form}, write no files",
        )
    command.set_defaults(run=_compare, doing="reading runs and their answers")


def _compare(chosen: argparse.Namespace) -> None:
    from rlvr.compare.compare import compare

    compare(chosen.targets, where=chosen.where, state=chosen.state, form=chosen.form)


def _add_evaluate(commands: Commands) -> None:
    command = commands.add_parser(
        "evaluate",
        help="ask trained models with other numbers of exemplars",
        description="Evaluate the trained model of a run, or of each finished run of a sweep, with "
        "each number of shots: accuracy and 95 % interval, train shots x evaluation shots.",
    )
    command.add_argument("target", metavar="RUN", help="a run, a sweep or its name, or `last`")
    command.add_argument("--shots", type=_counts, help="such as 0,2,4,8 (default: as trained)")
    command.add_argument("--n", type=int, help="questions (default: as in the run)")
    command.add_argument(
        "--leave-one-out", action="store_true", help="what each exemplar is worth: one run"
    )
    other = command.add_argument_group("with lm-evaluation-harness (pip install 'rlvr[lm-eval]')")
    other.add_argument("--harness", choices=["lm_eval"], help="ask its tasks instead")
    other.add_argument("--tasks", type=_names, help="such as gsm8k,arc_easy")
    other.add_argument("--limit", type=int, help="questions of each task (default: all)")
    other.add_argument("--include-path", type=Path, metavar="DIR", help="tasks of your own")
    command.set_defaults(run=_evaluate, doing="loading libraries, then asking the models")


def _counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected numbers, such as 0,2,4,8") from None


def _names(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _evaluate(chosen: argparse.Namespace) -> None:
    from rlvr.errors import UserError
    from rlvr.evaluation.command import evaluate_runs, runs_of

    ours = (chosen.shots, chosen.n, chosen.leave_one_out)
    theirs = (chosen.tasks, chosen.limit, chosen.include_path)
    if any(ours if chosen.harness else theirs) or bool(chosen.harness) != bool(chosen.tasks):
        raise UserError(
            "--harness lm_eval needs --tasks, and takes --limit and --include-path; --shots, --n "
            "and --leave-one-out are for the run's own questions"
        )
    directory, runs = runs_of(chosen.target)
    if chosen.harness:
        from rlvr.evaluation.harness import run_lm_eval

        run_lm_eval(runs, chosen.tasks, chosen.limit, chosen.include_path)
        return
    if chosen.leave_one_out:
        from rlvr.compare import exemplars

        exemplars.present(runs, chosen.shots, chosen.n)
        return
    from rlvr.compare import matrix

    matrix.present(evaluate_runs(runs, chosen.shots, chosen.n), directory)


def _add_report(commands: Commands) -> None:
    command = commands.add_parser(
        "report",
        help="a sweep as one HTML page, to read offline, mail or print",
        description="Write report.html into the sweep's directory: verdict, table, charts, health "
        "warnings, questions gained and lost, and how to repeat it, in one file below 500 kB.",
    )
    command.add_argument(
        "target",
        nargs="?",
        default="last",
        metavar="SWEEP",
        help="a sweep's directory or its name, or `last` (the default)",
    )
    command.set_defaults(run=_report, doing="reading the sweep, then writing its page")


def _report(chosen: argparse.Namespace) -> None:
    from rlvr.compare.page import report

    print(f"report: {report(chosen.target)}")


def _add_ui(commands: Commands) -> None:
    command = commands.add_parser(
        "ui",
        help="the MLflow pages of a sweep or a run, in the browser",
        description="Start MLflow's server for this machine on the store that a sweep or run is "
        "recorded in, print the address of its page and open it. Ctrl-C ends the server.",
    )
    command.add_argument(
        "target",
        nargs="?",
        metavar="SWEEP|RUN",
        help="a directory, a sweep's name, or `last` (the default)",
    )
    command.add_argument("--port", type=int, default=5000, help="another one if it is taken")
    command.add_argument("--no-open", action="store_true", help="only print the address")
    command.set_defaults(run=_ui)


def _ui(chosen: argparse.Namespace) -> None:
    from rlvr.tracking.ui import show

    show(chosen.target, port=chosen.port, open_browser=not chosen.no_open)


def _add_push(commands: Commands) -> None:
    command = commands.add_parser(
        "push",
        help="a run's model and its card to the Hugging Face hub",
        description="Write the model card from the run's result, look for secrets in what would be "
        "sent, and upload the run's model. The token is HF_TOKEN's, or that of hf auth login.",
    )
    command.add_argument("target", metavar="RUN", help="a run's directory, such as SWEEP/0")
    command.add_argument("--repo", metavar="ORG/NAME", help="default: named after the recipe")
    command.add_argument("--private", action="store_true", help="not to be seen by others")
    command.add_argument("--dry-run", action="store_true", help="list the files, send nothing")
    command.set_defaults(run=_push)


def _push(chosen: argparse.Namespace) -> None:
    from rlvr.hub.push import push

    push(chosen.target, chosen.repo, private=chosen.private, dry_run=chosen.dry_run)


def _add_check(commands: Commands) -> None:
    command = commands.add_parser(
        "check",
        help="check a configuration, its data and its rewards before training",
        description="Compose the configuration as train.py would, read the data, try the rewards "
        "on gold answers and on spoilt ones, and say what the run will take.",
    )
    command.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for train.py")
    command.add_argument(
        "--config-dir", metavar="DIR", help="further options beside those of conf/, as for train.py"
    )
    command.add_argument(
        "--rollouts", action="store_true", help="load the base model too and pay a few rollouts"
    )
    command.add_argument(
        "-m",
        "--multirun",
        action="store_true",
        help="check a whole sweep: a row for each job, and what would be refused",
    )
    command.set_defaults(run=_check, doing="composing the configuration, then reading its data")


def _check(chosen: argparse.Namespace) -> None:
    if chosen.multirun:
        from rlvr.preview import preview

        preview(chosen.overrides, config_dir=chosen.config_dir)
        return
    from rlvr.check import check

    check(chosen.overrides, config_dir=chosen.config_dir, rollouts=chosen.rollouts)


def _add_serve(commands: Commands) -> None:
    command = commands.add_parser(
        "serve",
        help="vLLM for runs on other machines, reached through a tunnel",
        description="Listen on this machine alone, and start an engine for each run that connects "
        "with the token of RLVR_SERVER_TOKEN, one after the other. docs/vllm.md has the tunnel.",
    )
    command.add_argument("--port", type=int, default=8700, help="another one if it is taken")
    command.set_defaults(run=_serve)


def _serve(chosen: argparse.Namespace) -> None:
    from rlvr.sampling.vllm.listen import listen

    listen(chosen.port)


def _add_resume(commands: Commands) -> None:
    command = commands.add_parser(
        "resume",
        help="go on with a sweep or a run exactly where it ended",
        description="Start a sweep by its own command again, of which only what is missing runs, "
        "or a run by its own configuration from its last checkpoint.",
    )
    command.add_argument(
        "target",
        nargs="?",
        metavar="RUN|SWEEP",
        help="a directory or a name (default: the newest sweep or run that is not finished)",
    )
    command.set_defaults(run=_resume)


def _resume(chosen: argparse.Namespace) -> None:
    from rlvr.resume import resume

    resume(chosen.target)


def _add_jobs(commands: Commands) -> None:
    from rlvr.jobs import add_parser

    add_parser(commands)


# A subcommand is a function that adds its parser and sets `run`; list it here.
COMMANDS: list[Callable[[Commands], None]] = [
    _add_check,
    _add_resume,
    _add_compare,
    _add_report,
    _add_evaluate,
    _add_ui,
    _add_push,
    _add_jobs,
    _add_serve,
]
