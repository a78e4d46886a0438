"""Run one job of a sweep from its resolved config: `python -m rlvr.worker JOB_DIR`.

Exit codes: 0 finished, 1 failed, 143 ended by a signal. A `result.json` is left in every case.
"""

import logging
import os
import sys
import traceback
from pathlib import Path

from omegaconf import OmegaConf

from rlvr import ranks, result
from rlvr.errors import UserError
from rlvr.interruptions import end_on_signals
from rlvr.processes import end_own_group, end_with_parent, hold_place
from rlvr.states import State
from rlvr.tracking import RUN_ID_VARIABLE

TERMINATED = 143
LOG_FORMAT = "[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"


def main(arguments: list[str] | None = None) -> int:
    directory = Path((arguments or sys.argv[1:])[0]).resolve()
    end_on_signals()
    if ranks.is_rank():
        hold_place(directory)
    try:
        if (
            ranks.is_main() and not ranks.is_rank()
        ):  # another rank may have failed already and said so
            _result(directory, State.running).write(directory)
        end_with_parent()
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stdout)
        run_job(directory)
        # other ranks may end before the main one has written
        if ranks.is_main() and result.ended(directory) is None:
            raise RuntimeError(f"the run returned and left no {result.FILE}")
        return 0
    except KeyboardInterrupt as error:
        ensure_result(directory, error)
        end_own_group()
        return TERMINATED
    except BaseException as error:  # an import error or sys.exit is a failed run too
        if isinstance(error, UserError):
            print(f"error: {error}", file=sys.stderr, flush=True)
        else:
            traceback.print_exception(error)
        ensure_result(directory, error)
        return 1


def run_job(directory: Path) -> None:
    from rlvr import config
    from rlvr.run import run

    run(config.load(directory / "config.yaml"), directory)


def ensure_result(directory: Path, error: BaseException) -> None:
    """Keep the run's own result; write one where it could not."""
    if result.ended(directory) is None:
        record = _result(directory, State.failed)
        record.fail(error)
        record.write(directory)


def _result(directory: Path, state: State) -> result.Result:
    overrides = directory / "overrides.yaml"
    listed = [str(o) for o in OmegaConf.load(overrides)] if overrides.is_file() else []
    return result.Result(state, overrides=listed, run_id=os.environ.get(RUN_ID_VARIABLE))


if __name__ == "__main__":
    sys.exit(main())
