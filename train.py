"""Train with verifiable rewards: `python train.py shots=4,8 -m`. See `python train.py --help`."""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PATHS = [str(ROOT), str(ROOT / "launchers")]
sys.path[:0] = [p for p in PATHS if p not in sys.path]
# Child processes unpickle Hydra's plugins before this file runs, so they need the path too.
inherited = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(PATHS + inherited))
os.environ.setdefault("RLVR_OUTPUT_DIR", str(ROOT / "outputs"))

import hydra  # noqa: E402
from hydra._internal.utils import get_args_parser  # noqa: E402
from omegaconf import DictConfig  # noqa: E402

from rlvr import config  # noqa: E402
from rlvr.errors import UserError  # noqa: E402

FULL_ERRORS = os.environ.get("HYDRA_FULL_ERROR") == "1"  # the user wants tracebacks


def multirun_first(arguments: list[str]) -> list[str]:
    """Hydra 1.3 rejects `a=1 -m b=2` (facebookresearch/hydra#3053): move the flag to the front."""
    flags = [a for a in arguments if a in ("-m", "--multirun")]
    return flags[:1] + [a for a in arguments if a not in ("-m", "--multirun")]


def train(cfg: DictConfig) -> float:
    from hydra.core.hydra_config import HydraConfig

    from rlvr.interruptions import end_on_signals
    from rlvr.single_run import start

    end_on_signals()
    try:
        config.validate(cfg)
        hydra_config = HydraConfig.get()
        return start(cfg, Path(hydra_config.runtime.output_dir), list(hydra_config.overrides.task))
    except UserError as error:  # Hydra would print the overrides above it
        if FULL_ERRORS:
            raise
        sys.exit(str(error))


# Launchers start this module on each job's resolved config, wherever the job runs.
train.worker_module = "rlvr.worker"  # type: ignore[attr-defined]


def print_help(given: argparse.Namespace) -> None:
    from rlvr.config.help import help_text

    print(help_text(given.overrides, *folders(given)))


def folders(given: argparse.Namespace) -> tuple[Path, Path | None]:
    """Where the options are: conf/ or what replaces it, and what --config-dir adds."""
    conf = Path(given.config_path).absolute() if given.config_path else ROOT / "conf"
    return conf, Path(given.config_dir).absolute() if given.config_dir else None


def output_dir(arguments: list[str]) -> str:
    given = [a.removeprefix("output_dir=") for a in arguments if a.startswith("output_dir=")]
    return given[-1] if given else os.environ["RLVR_OUTPUT_DIR"]


def settle_output_dir(arguments: list[str]) -> None:
    """Jobs, the default MLflow store and `launcher.resume=last` all look below it."""
    # Hydra makes the run's directory before it hands over, and fails with a traceback.
    if problem := config.unwritable(output_dir(arguments)):
        sys.exit(problem)
    os.environ["RLVR_OUTPUT_DIR"] = str(Path(output_dir(arguments)).expanduser().absolute())


def own_command(arguments: list[str]) -> list[str]:
    """`launcher.resume=last` with nothing else takes the sweep's own command from its record."""
    from rlvr.sweep.command import own_command

    return multirun_first(own_command(arguments, Path(os.environ["RLVR_OUTPUT_DIR"]) / "sweeps"))


def message(error: Exception, given: argparse.Namespace) -> str:
    """One for whoever typed the arguments; errors that are not theirs are raised again."""
    from rlvr.config.command_line import explain, is_refusal

    if isinstance(error, ValueError) and str(error).startswith("Only one of"):
        return "choose one of -m, --cfg and --info; what a sweep would do says: rlvr check ... -m"
    if isinstance(error, UserError):
        return str(error)
    if not is_refusal(error):
        raise error
    return explain(error, given.overrides, *folders(given))


if __name__ == "__main__":
    sys.argv[:] = [str(ROOT / "train.py"), *multirun_first(sys.argv[1:])]
    given = get_args_parser().parse_args()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors to us
    try:
        if given.help:
            print_help(given)
            sys.exit()
        if not (given.cfg or given.info or given.hydra_help or given.shell_completion):
            print("train.py: composing the configuration ...", file=sys.stderr, flush=True)
        settle_output_dir(sys.argv[1:])
        if any("launcher.resume=" in argument for argument in sys.argv[1:]):
            sys.argv[1:] = own_command(sys.argv[1:])
            settle_output_dir(sys.argv[1:])
        config.register()
        hydra.main(version_base="1.3", config_path="conf", config_name="config")(train)()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if FULL_ERRORS:
            raise
        sys.exit(message(error, given))
