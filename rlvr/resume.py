"""`rlvr resume`: go on with a sweep or a run, exactly as it was started."""

import os
import sys
from pathlib import Path

from rlvr import manifest, single_run
from rlvr.check import project_root
from rlvr.errors import UserError
from rlvr.manifest import Manifest
from rlvr.paths import output_dir
from rlvr.sweep import command


def resume(target: str | None) -> None:
    """Raises UserError for what cannot be gone on with; what is finished is said."""
    directory = newest_unfinished() if target is None else find(target)
    if target is None:
        print(f"Going on with {directory}", flush=True)
    if single_run.is_run(directory):
        from rlvr.interruptions import end_on_signals

        end_on_signals()
        single_run.resume(directory)
    else:
        _resume_sweep(directory, manifest.load(directory))


def find(target: str) -> Path:
    """A directory, the name of a sweep or of a run, or `last` for the newest sweep."""
    runs = output_dir() / "runs"
    if (runs / target).is_dir() and not Path(target).is_dir():
        found = runs / target
    else:
        found = manifest.locate(target, output_dir() / "sweeps")
    if not (found / manifest.FILE).is_file() and not single_run.is_run(found):
        raise UserError(
            f"{found} is neither a sweep ({manifest.FILE}) nor a run that has begun "
            f"({single_run.CONFIG}): there is nothing to go on with"
        )
    return found


def newest_unfinished() -> Path:
    """Of the sweeps and runs that no process is working on."""
    sweeps, runs = output_dir() / "sweeps", output_dir() / "runs"
    found = [d for d, record in manifest.readable(sweeps).items() if not _is_finished(record)]
    found += [d for d in runs.glob("*") if single_run.is_run(d) and not _has_finished(d)]
    held = [directory for directory in found if manifest.holder(directory)]
    left = [directory for directory in found if directory not in held]
    if not left:
        going = f" ({', '.join(map(str, held))} still running)" if held else ""
        raise UserError(f"every sweep and run in {output_dir()} is finished{going}")
    return max(left, key=_begun)


def _has_finished(run: Path) -> bool:
    """A result that cannot be read is left alone."""
    try:
        return single_run.state(run).complete
    except UserError as error:
        manifest.log.warning("skipped: %s", error)
        return True


def _begun(directory: Path) -> float:
    """A run writes its configuration, and a sweep its manifest, whenever it starts."""
    name = manifest.FILE if (directory / manifest.FILE).is_file() else single_run.CONFIG
    return (directory / name).stat().st_mtime


def _is_finished(record: Manifest) -> bool:
    """One that plans its jobs as results come in may have jobs that are in no record yet."""
    own_sweeper = any(a.startswith(("hydra.sweeper", "hydra/sweeper")) for a in record.command)
    return not own_sweeper and all(job.state.complete for job in record.jobs)


def _resume_sweep(directory: Path, record: Manifest) -> None:
    if _is_finished(record):
        print(f"every job of {directory} is finished: see `rlvr compare {directory}`")
        return
    script = Path(record.cwd or ".", *record.command[1:2])
    script = script if script.is_file() else project_root() / "train.py"
    arguments = command.own_command([command.resume(directory.absolute())], directory.parent)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, str(script.absolute()), *arguments])
