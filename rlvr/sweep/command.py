"""A sweep's own command line, and what `launcher.resume=last` with nothing else stands for."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from rlvr import manifest
from rlvr.dotted_keys import override_key
from rlvr.errors import UserError
from rlvr.manifest import Manifest

# These say where, how and how far jobs run and change no job, so that they may stand beside the
# command.
BESIDES = ("launcher", "pruner", "tracking", "output_dir")
OF_A_RESUME = ("launcher.resume", "launcher.extend", "launcher.dry_run")
MULTIRUN = ("-m", "--multirun")


def own_command(arguments: list[str], sweeps: Path) -> list[str]:
    """What goes on with the sweep that `launcher.resume` names, where no argument says which jobs.

    The sweep's own arguments and the given ones, which win; others are returned as they are. The
    process moves to where the sweep was started, because its paths may be relative. Raises
    UserError for a sweep that cannot be read.
    """
    given = overrides(arguments)
    spec = next((o for o in reversed(given) if override_key(o) == "launcher.resume"), None)
    if spec is None or not all(_besides(o) for o in given) or _value(spec) is None:
        return arguments
    directory = manifest.find(str(_value(spec)), root=sweeps).absolute()
    record = manifest.load(directory)
    others = [_absolute(a) for a in arguments if override_key(a) != "launcher.resume"]
    arguments = with_resume(without(record.command[2:], others), others, directory)
    if record.cwd is not None and Path(record.cwd).is_dir() and Path.cwd() != Path(record.cwd):
        print(f"Going on in {record.cwd}, where the sweep was started", flush=True)
        os.chdir(record.cwd)
    return arguments


def overrides(arguments: Sequence[str]) -> list[str]:
    """The arguments that Hydra reads as overrides, wherever its flags stand."""
    from hydra._internal.utils import get_args_parser

    known, _ = get_args_parser().parse_known_intermixed_args(list(arguments))
    return [str(override) for override in known.overrides]


def without(arguments: Sequence[str], others: Sequence[str]) -> list[str]:
    """`arguments` but for those that `others` set too, and for what an earlier resume has added."""
    keys = {*map(override_key, others), *OF_A_RESUME, *MULTIRUN}
    return [argument for argument in arguments if override_key(argument) not in keys]


def with_resume(kept: list[str], others: list[str], directory: Path) -> list[str]:
    return [*MULTIRUN[:1], *kept, *(o for o in others if o not in MULTIRUN), resume(directory)]


def resume(directory: Path | str) -> str:
    """The override that goes on with the sweep, in quotes where Hydra's grammar needs them."""
    text = str(directory)
    if not re.fullmatch(r"[\w./-]+", text):
        text = "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return f"launcher.resume={text}"


def is_own(record: Manifest, arguments: Sequence[str]) -> bool:
    """Do these arguments ask for the sweep's jobs by its own command, in whatever order?"""
    return _asking(record.command[2:]) == _asking(arguments)


def _asking(arguments: Sequence[str]) -> list[str]:
    return sorted(a for a in arguments if a not in MULTIRUN and not _besides(a))


def _besides(override: str) -> bool:
    """`launcher` and `hydra/launcher` say where jobs run."""
    return re.split(r"[./]", override_key(override).removeprefix("hydra/"))[0] in BESIDES


def _value(override: str) -> object:
    try:
        return OverridesParser.create().parse_override(override).value()
    except HydraException as error:
        raise UserError(str(error)) from error


def _absolute(argument: str) -> str:
    """`output_dir` is relative to where the user is, not to where the sweep was started."""
    if override_key(argument) != "output_dir":
        return argument
    return f"output_dir={Path(argument.partition('=')[2]).expanduser().absolute()}"
