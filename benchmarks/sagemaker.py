"""The SageMaker launcher against the emulator, measured:

python benchmarks/sagemaker.py overhead            seconds to the first submit and per further job
python benchmarks/sagemaker.py sweep               8 real runs of the embedded model, 4 at a time
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATHS = [str(ROOT), str(ROOT / "launchers"), str(ROOT / "tests")]
sys.path[:0] = PATHS
os.environ["PYTHONPATH"] = os.pathsep.join(PATHS[:2])
os.environ.setdefault("OMP_NUM_THREADS", "1")

from sagemaker_emulator import BUCKET, ROLE, Emulator  # noqa: E402
from sagemaker_emulator.testing import APP, HIDDEN, SageMakerApp  # noqa: E402


def started(emulator: Emulator) -> SageMakerApp:
    folder = Path(tempfile.mkdtemp(prefix="rlvr-benchmark-"))
    environment = {
        **os.environ,
        **emulator.env(),
        "RLVR_OUTPUT_DIR": str(folder),
        "RLVR_TEST_APP": str(APP),
        "XDG_CACHE_HOME": str(emulator.folder / "cache"),
    }
    return SageMakerApp(folder, emulator, environment)


def overhead(emulator: Emulator, chosen: argparse.Namespace) -> None:
    """Jobs never start (their instances take for ever), so only the launcher is measured."""
    for label, jobs in (("cold", 1), ("cached", 1), ("cached", 8), ("cached", 64)):
        emulator.reset()
        app, began = started(emulator), time.monotonic()
        process = app.start(
            f"shots=range({jobs})", "launcher.n_jobs=64", "launcher.poll_seconds=15"
        )
        while len(emulator.request_times) < jobs:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        times = [t - began for t in emulator.request_times]
        app.kill()
        per_job = (times[-1] - times[0]) / max(1, jobs - 1)
        calls = dict(Counter(emulator.calls))
        print(
            f"{label:7} {jobs:3} jobs: first submit {times[0]:6.2f} s, "
            f"then {per_job:5.2f} s a job; {calls}"
        )


def sweep(emulator: Emulator, chosen: argparse.Namespace) -> None:
    app, began = started(emulator), time.monotonic()
    output = app.run(
        *("shots=0,2,4,8", "trainer.learning_rate=1e-5,1.84e-4", "launcher=sagemaker"),
        *("experiment=debug", "launcher.n_jobs=4", "launcher.poll_seconds=1"),
        *(f"launcher.role={ROLE}", f"launcher.bucket={BUCKET}", *chosen.overrides),
        script=ROOT / "train.py",
        timeout=3600,
    )
    print(output)
    jobs = app.manifest().jobs
    print(f"{len(jobs)} jobs in {time.monotonic() - began:.0f} s: {Counter(j.state for j in jobs)}")
    print("API calls:", json.dumps(dict(emulator.calls)))
    kinds = Counter(key.split("/")[3] for key in emulator.uploads if key.count("/") > 3)
    print("uploads by kind:", dict(kinds))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for function in (overhead, sweep):
        command = commands.add_parser(function.__name__)
        command.set_defaults(run=function)
        if function is sweep:
            command.add_argument("overrides", nargs="*")
    chosen = parser.parse_args()
    slow = 1e6 if chosen.run is overhead else 0.05
    with Emulator(stop_grace=15, provisioning=slow, hide=HIDDEN) as emulator:
        emulator.client("s3").create_bucket(Bucket=BUCKET)
        chosen.run(emulator, chosen)


if __name__ == "__main__":
    main()
