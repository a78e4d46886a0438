"""Train with verifiable rewards: `python train.py shots=4,8 -m`. See `python train.py --help`."""

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
from omegaconf import DictConfig  # noqa: E402

from rlvr import config  # noqa: E402


def multirun_first(arguments: list[str]) -> list[str]:
    """Hydra 1.3 rejects `a=1 -m b=2` (facebookresearch/hydra#3053): move the flag to the front."""
    flags = [a for a in arguments if a in ("-m", "--multirun")]
    return flags[:1] + [a for a in arguments if a not in ("-m", "--multirun")]


def train(cfg: DictConfig) -> float:
    from hydra.core.hydra_config import HydraConfig

    from rlvr.single_run import start
    from rlvr.worker import end_on_signals

    end_on_signals()
    config.validate(cfg)
    hydra_config = HydraConfig.get()
    return start(cfg, Path(hydra_config.runtime.output_dir), list(hydra_config.overrides.task))


# Launchers start this module on each job's resolved config, wherever the job runs.
train.worker_module = "rlvr.worker"  # type: ignore[attr-defined]


def help_at_once() -> None:
    """Hydra copies its whole config store for each group that --help lists, 12 ms a time."""
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.__deepcopy__ = lambda memo: store  # type: ignore[attr-defined]


def output_dir(arguments: list[str]) -> str:
    given = [a.removeprefix("output_dir=") for a in arguments if a.startswith("output_dir=")]
    return given[-1] if given else os.environ["RLVR_OUTPUT_DIR"]


SHOWING = {"--cfg", "-c", "--info", "-i"}


def settle_output_dir(arguments: list[str]) -> None:
    """Jobs, the default MLflow store and `launcher.resume=last` all look below it."""
    # Hydra makes the run's directory before it hands over, and fails with a traceback.
    if problem := config.unwritable(output_dir(arguments)):
        sys.exit(problem)
    os.environ["RLVR_OUTPUT_DIR"] = str(Path(output_dir(arguments)).expanduser().absolute())


def go_on() -> None:
    """`launcher.resume=last` with nothing else takes the sweep's own command from its record."""
    from rlvr.errors import UserError
    from rlvr.sweep.command import own_command

    try:
        sweeps = Path(os.environ["RLVR_OUTPUT_DIR"]) / "sweeps"
        sys.argv[1:] = multirun_first(own_command(sys.argv[1:], sweeps))
    except UserError as error:
        sys.exit(str(error))
    settle_output_dir(sys.argv[1:])


if __name__ == "__main__":
    config.register()
    if {"-h", "--help"} & set(sys.argv[1:]):
        help_at_once()
    sys.argv[:] = [str(ROOT / "train.py"), *multirun_first(sys.argv[1:])]
    flags = {argument.partition("=")[0] for argument in sys.argv[1:]}
    if flags & {"-m", "--multirun"} and flags & SHOWING:
        sys.exit("--cfg and --info show one configuration; a whole sweep: rlvr check ... -m")
    settle_output_dir(sys.argv[1:])
    if any("launcher.resume=" in argument for argument in sys.argv[1:]):
        go_on()
    try:
        hydra.main(version_base="1.3", config_path="conf", config_name="config")(train)()
    except KeyboardInterrupt:
        sys.exit(130)
