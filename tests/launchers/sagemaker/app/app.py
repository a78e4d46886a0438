"""A Hydra app whose jobs train in pretence; `pretend_worker.py` runs them."""

import sys

import hydra
from omegaconf import DictConfig


def task(cfg: DictConfig) -> float:
    raise AssertionError("the launcher runs pretend_worker, not this")


task.worker_module = "pretend_worker"
task.validate = lambda cfg: None

if __name__ == "__main__":
    try:
        hydra.main(version_base="1.3", config_path="conf", config_name="config")(task)()
    except KeyboardInterrupt:
        sys.exit(130)
