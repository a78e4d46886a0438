"""Launchers under faults: sweeps drawn from seeds, their controllers killed at random moments.

python benchmarks/launcher_faults.py sagemaker --seeds 200     pretended jobs on the emulator
python benchmarks/launcher_faults.py local --seeds 40          real processes
python benchmarks/launcher_faults.py slurm --seeds 40          the same on a pretended cluster

Prints a line a sweep, then how many were disturbed and what went wrong.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATHS = [str(ROOT), str(ROOT / "launchers"), str(ROOT / "tests")]
sys.path[:0] = PATHS
os.environ.setdefault("OMP_NUM_THREADS", "1")

from launcher_fuzz import on_processes, on_sagemaker  # noqa: E402
from launcher_fuzz.campaign import Campaign, Fuzzed  # noqa: E402
from launcher_fuzz.controllers import Controllers  # noqa: E402
from sagemaker_emulator import Emulator  # noqa: E402

Make = Callable[[int, Path], Campaign]


@contextmanager
def sagemaker(controllers: Controllers, folder: Path) -> Iterator[Make]:
    with Emulator(pretend=on_sagemaker.pretend()) as emulator:
        prices = on_sagemaker.prepare(emulator, folder)
        cache = folder / "cache"
        cache.mkdir()

        def make(seed: int, home: Path) -> Campaign:
            emulator.reset()
            fuzzed = on_sagemaker.draw(seed, emulator, prices)
            return on_sagemaker.SageMakerCampaign(fuzzed, controllers, home, emulator, cache)

        yield make


@contextmanager
def local(controllers: Controllers, folder: Path) -> Iterator[Make]:
    yield lambda seed, home: on_processes.LocalCampaign(on_processes.draw(seed), controllers, home)


@contextmanager
def slurm(controllers: Controllers, folder: Path) -> Iterator[Make]:
    def make(seed: int, home: Path) -> Campaign:
        return on_processes.SlurmCampaign(on_processes.draw(seed, "slurm"), controllers, home)

    yield make


LAUNCHERS = {"sagemaker": sagemaker, "slurm": slurm, "local": local}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("launcher", choices=LAUNCHERS)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kills", type=int, default=2, help="of controllers, in each sweep")
    chosen = parser.parse_args()
    folder, done = Path(tempfile.mkdtemp(prefix="rlvr-faults-")), list[Fuzzed]()
    began = time.monotonic()
    with (
        Controllers() as controllers,
        LAUNCHERS[chosen.launcher](controllers, folder) as make,
    ):
        for seed in range(chosen.first, chosen.first + chosen.seeds):
            done.append(make(seed, folder / str(seed)).run(chosen.kills))
            print(f"{seed}: {done[-1].problems or 'ok'}", flush=True)
    wrong = sum(bool(fuzzed.problems) for fuzzed in done)
    print(
        f"{len(done)} sweeps in {time.monotonic() - began:.0f} s: "
        f"{sum(f.kills for f in done)} controllers killed or interrupted, "
        f"{sum(f.attempts for f in done)} attempts at jobs, {wrong} sweeps with problems; "
        f"what they left is in {folder}"
    )
    return wrong


if __name__ == "__main__":
    sys.exit(main())
