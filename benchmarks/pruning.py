"""What a pruner saves on the quickstart's 2 x 2, and whether it would have ended the winner.

python benchmarks/pruning.py record FILE --seeds 20    trains every run to its end, with looks
python benchmarks/pruning.py replay FILE               what each pruner would have done

`record` goes on where FILE ends. `replay` decides by the same function as a sweep does.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "launchers")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hydra import compose, initialize_config_dir  # noqa: E402

from rlvr import config, pruning  # noqa: E402
from rlvr.config.pruner import PrunerConfig, PrunerName  # noqa: E402
from rlvr.pruning import Look  # noqa: E402

SHOTS, RATES = (2, 4), (3e-4, 2e-3)  # of conf/experiment/quickstart.yaml
LOOKS = [0.1, 0.2, 0.3, 0.35, 0.5, 0.75]  # those of all pruners
PRUNERS = {
    "interval": PrunerConfig(PrunerName.interval),
    "asha, a third": PrunerConfig(PrunerName.asha, [0.1, 0.3], reduction=3),
    "asha, half": PrunerConfig(PrunerName.asha, [0.1, 0.2, 0.35, 0.5, 0.75], reduction=2),
    "own base alone": PrunerConfig(PrunerName.optuna),
}


@dataclass(frozen=True)
class Recorded:
    """One run, trained to its end. Seconds are CPU seconds from its start, since the machine may be
    shared: `at` those of each look's end by its step, `trained` and `seconds` those of the ends of
    training and of the run. `accuracy` is the final one, on test questions."""

    seed: int
    shots: int
    rate: float
    looks: list[Look]
    at: dict[str, float]
    trained: float
    seconds: float
    accuracy: float


def record(file: Path, seeds: int) -> None:
    from rlvr.library_noise import quiet_libraries

    file.touch()
    known = {(run.seed, run.shots, run.rate) for run in read(file)}
    quiet_libraries(file.parent)
    import rlvr.training.trainer  # noqa: F401  what each run's own process would load

    loading = time.process_time()
    config.register()
    for seed, shots, rate in product(range(1, seeds + 1), SHOTS, RATES):
        if (seed, shots, rate) not in known:
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(asdict(train(seed, shots, rate, loading))) + "\n")


def train(seed: int, shots: int, rate: float, loading: float) -> Recorded:
    """With looks, but nobody decides by them."""
    from rlvr.result import read as read_result
    from rlvr.run import run
    from rlvr.training.looks import Looks

    at: dict[int, float] = {}
    began = time.process_time() - loading

    class Timed(Looks):
        def pruned_at(self, step: int) -> bool:
            super().pruned_at(step)
            self.pruned = None
            at[step] = time.process_time() - began
            return False

    overrides = ["experiment=quickstart", "tracking=none", "pruner=interval", f"shots={shots}"]
    overrides += [f"trainer.learning_rate={rate}", f"seed={seed}", f"pruner.looks={LOOKS}"]
    with tempfile.TemporaryDirectory() as folder, mock.patch("rlvr.training.looks.Looks", Timed):
        os.environ["RLVR_OUTPUT_DIR"] = folder
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            cfg = compose("config", [*overrides, "run=recorded", f"output_dir={folder}"])
        run(cfg, Path(folder) / "run")
        result, looks = read_result(Path(folder) / "run"), pruning.read_looks(Path(folder) / "run")
    seconds = time.process_time() - began
    spent = {str(look.step): at[look.step] for look in looks[1:]}
    accuracy = result.trained["accuracy"]
    print(f"seed {seed}, {shots} shots, lr {rate:g}: {100 * accuracy:.1f} %", flush=True)
    return Recorded(seed, shots, rate, looks, spent, at[max(at)], seconds, accuracy)


def read(file: Path) -> list[Recorded]:
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [Recorded(**{**r, "looks": [Look(**look) for look in r["looks"]]}) for r in records]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=("record", "replay"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    chosen = parser.parse_args()
    if chosen.action == "record":
        record(chosen.file, chosen.seeds)


if __name__ == "__main__":
    main()
