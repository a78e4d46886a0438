"""What installed packages say stays off the screen: their errors alone reach the user.

One rule for all, by where a message comes from, since no list of loggers is complete: warnings and
records below ERROR from the code of installed packages go to a file, if there is one. What the
user's own code and this package say is left alone, and so is all where Python was started with -W
or PYTHONWARNINGS.
"""

import logging
import os
import sys
import sysconfig
import warnings
from pathlib import Path
from typing import Any, TextIO

from rlvr.paths import PACKAGE

FILE = "libraries.log"
_INSTALLED = tuple({f"{sysconfig.get_path(name)}{os.sep}" for name in ("purelib", "platlib")})
_OTHERS = (*_INSTALLED, f"{sysconfig.get_path('stdlib')}{os.sep}", f"{PACKAGE}{os.sep}", "<")
_ENVIRONMENT = {  # read by libraries when they load, here and in child processes
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_kept = logging.getLogger("rlvr.libraries")


class LibraryLogger(logging.Logger):
    """Keeps to itself what an installed package logs below ERROR."""

    def handle(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or not record.pathname.startswith(_INSTALLED):
            super().handle(record)
        elif record.levelno >= logging.WARNING:
            _kept.handle(record)


def quiet_libraries(run_dir: Path | None = None) -> None:
    """Call before the libraries load; `run_dir/libraries.log` then gets what they said.

    Their errors still raise or are logged.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    _kept.propagate = False
    if not _kept.handlers:
        _kept.addHandler(logging.NullHandler())
    if run_dir is not None:
        _keep_in(run_dir / FILE)
    if sys.warnoptions:
        return
    logging.setLoggerClass(LibraryLogger)
    for logger in list(logging.root.manager.loggerDict.values()):
        if type(logger) is logging.Logger and logger is not _kept:
            logger.__class__ = LibraryLogger
    warnings.showwarning = _show_warning


def _keep_in(file: Path) -> None:
    for handler in list(_kept.handlers):
        _kept.removeHandler(handler)
        handler.close()
    handler = logging.FileHandler(file, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    _kept.addHandler(handler)


_show = warnings.showwarning


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> Any:
    if not filename.startswith(_OTHERS):
        return _show(message, category, filename, lineno, file, line)
    if not issubclass(category, DeprecationWarning | FutureWarning):
        where = ("warnings", logging.WARNING, filename, lineno, f"{category.__name__}: {message}")
        _kept.handle(logging.LogRecord(*where, None, None))
