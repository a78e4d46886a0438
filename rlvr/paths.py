"""Where the package stands: the one place that knows."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
PROJECT = PACKAGE.parent  # of a clone: the folder with train.py and conf/
ASSETS = PACKAGE / "assets"


def output_dir() -> Path:
    """Where runs, sweeps and the default store are: $RLVR_OUTPUT_DIR, or outputs/ of the clone."""
    if chosen := os.environ.get("RLVR_OUTPUT_DIR"):
        return Path(chosen).resolve()
    return (PROJECT if (PROJECT / "train.py").exists() else Path.cwd()) / "outputs"


def find(path: str) -> Path:
    """A file or folder that a config names: in the current directory, else in the project's."""
    here = Path(path).expanduser()
    return PROJECT / here if not here.exists() and (PROJECT / here).exists() else here
