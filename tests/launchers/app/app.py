"""A Hydra app whose jobs do as their config says; `fake_worker.py` runs them."""

import sys

import hydra
from omegaconf import DictConfig

from rlvr.errors import UserError


def task(cfg: DictConfig) -> float:
    raise AssertionError("the launcher runs fake_worker, not this")


def validate(cfg: DictConfig) -> None:
    if cfg.value > 1:
        raise UserError(f"value={cfg.value}: must be at most 1")


task.worker_module = "fake_worker"
task.validate = validate

if __name__ == "__main__":
    try:
        hydra.main(version_base="1.3", config_path="conf", config_name="config")(task)()
    except KeyboardInterrupt:
        sys.exit(130)
