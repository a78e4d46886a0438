"""What a pruner saves on the quickstart's 2 x 2, and whether it would have ended the winner.

python benchmarks/pruning.py record FILE --seeds 20    trains every run to its end, with looks
python benchmarks/pruning.py replay FILE               what each pruner would have done
python benchmarks/pruning.py replay FILE --draws 20    the same with other luck in its looks

`record` goes on where FILE ends. `replay` decides by the same function as a sweep does.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "launchers")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hydra import compose, initialize_config_dir  # noqa: E402

from rlvr import config, pruning  # noqa: E402
from rlvr.config.pruner import PrunerConfig, PrunerName  # noqa: E402
from rlvr.evaluation.statistics import wilson  # noqa: E402
from rlvr.pruning import Look  # noqa: E402

SHOTS, RATES, STEPS = (2, 4), (3e-4, 2e-3), 40  # of conf/experiment/quickstart.yaml
LOOKS = [0.1, 0.25, 0.3, 0.5]  # those of all pruners
PRUNERS = {
    "interval": PrunerConfig(PrunerName.interval, [0.1, 0.25, 0.5]),
    "asha, a third": PrunerConfig(PrunerName.asha, [0.1, 0.3], reduction=3),
    "asha, half": PrunerConfig(PrunerName.asha, [0.1, 0.25, 0.5], reduction=2),
    "own base alone": PrunerConfig(PrunerName.optuna, [0.1, 0.25, 0.5]),
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


@dataclass
class Costs:
    """What a run is made of, in seconds: all before its training, a step, a look, all after."""

    before: float
    step: float
    look: float
    after: float

    @classmethod
    def of(cls, run: Recorded) -> "Costs":
        """By least squares: between two looks lie some steps and one look, at the end none."""
        import numpy as np

        steps = [0, *map(int, run.at), STEPS]
        spans = np.diff(steps)[1:]
        seconds = np.diff([*run.at.values(), run.trained])
        looked = [1.0] * (len(spans) - 1) + [0.0]
        (step, look), *_ = np.linalg.lstsq(np.column_stack([spans, looked]), seconds, rcond=None)
        first = run.looks[1]
        before = run.at[str(first.step)] - first.step * step - 2 * look  # the base's look too
        return cls(before, step, look, run.seconds - run.trained)

    def until(self, step: int, looks: int) -> float:
        return self.before + step * self.step + looks * self.look


@dataclass(frozen=True)
class Replayed:
    """Seconds of all runs together, of their training and of the sweep, without a pruner and with
    it. The evaluation after training counts as training: a run that was ended has none."""

    training: tuple[float, float]
    runs: tuple[float, float]
    sweep: tuple[float, float]
    pruned: dict[int, int]  # the step of each
    best_kept: bool


def replay(runs: list[Recorded], settings: PrunerConfig, slots: int) -> Replayed:
    """One seed's sweep: `slots` runs at a time, each told to end by what is known by then."""
    costs = [Costs.of(run) for run in runs]
    plain = [cost.until(STEPS, 0) + cost.after for cost in costs]
    taken: dict[int, float] = {}
    known: dict[int, list[Look]] = {}
    pruned: dict[int, int] = {}
    free, events, waiting = [0.0] * slots, [], [*range(len(runs))]

    def start(at: float) -> None:
        number = waiting.pop(0)
        looks = [k for k in runs[number].looks if k.share in settings.looks]
        known[number] = [runs[number].looks[0]]
        for count, look in enumerate(looks, 2):
            events.append((at + costs[number].until(look.step, count), number, look))
        end = at + costs[number].until(STEPS, len(looks) + 1) + costs[number].after
        events.append((end, number, None))
        taken[number] = -at

    def finish(number: int, at: float) -> None:
        taken[number] += at
        free[:] = [*free, at]
        events[:] = [event for event in events if event[1] != number]
        if waiting:
            start(at)

    for at in free:
        start(at)
    while events:
        events.sort(key=lambda event: event[:2])
        at, number, look = events.pop(0)
        if look is None:
            finish(number, at)
            continue
        known[number].append(look)
        running = [n for n in known if any(event[1] == n for event in events)]
        for hopeless in pruning.prune(settings, known, running):
            pruned[hopeless] = known[hopeless][-1].step
            finish(hopeless, at + costs[hopeless].step)  # it sees it at the end of a step
    best = max(run.accuracy for run in runs)
    kept = any(run.accuracy == best for n, run in enumerate(runs) if n not in pruned)
    sweep = (_sweep_seconds(plain, slots), max(free))
    ready = sum(cost.before for cost in costs)
    trained = (sum(plain) - ready, sum(taken.values()) - ready)
    return Replayed(trained, (sum(plain), sum(taken.values())), sweep, pruned, kept)


def _sweep_seconds(seconds: list[float], slots: int) -> float:
    ends = [0.0] * slots
    for one in seconds:
        ends[ends.index(min(ends))] += one
    return max(ends)


def redrawn(run: Recorded, generator: Any) -> Recorded:
    """The same run, asked other questions: its recorded accuracies taken as the true ones."""
    looks = []
    for look in run.looks:
        right = int(generator.binomial(look.n, look.accuracy))
        bounds = wilson(right, look.n)
        found = {"accuracy": right / look.n, "low": bounds.low, "high": bounds.high}
        looks.append(replace(look, **found))
    return replace(run, looks=looks)


def table(runs: list[Recorded], draws: int) -> None:
    """Of whole sweeps; with `draws` of each as many with looks that are drawn anew."""
    import numpy as np

    sweeps = [sorted((r for r in runs if r.seed == seed), key=lambda r: (r.shots, r.rate))
              for seed in sorted({run.seed for run in runs})]  # fmt: skip
    whole = [sweep for sweep in sweeps if len(sweep) == len(SHOTS) * len(RATES)]
    if not whole:
        sys.exit("no seed has all of its runs recorded yet: go on with `record`")
    print(f"{len(whole)} sweeps recorded")
    if draws:
        generator = np.random.default_rng(0)
        whole = [[redrawn(r, generator) for r in sweep] for sweep in whole for _ in range(draws)]
        print(f"{len(whole)} simulated from them")
    print("| pruner | training saved | whole runs | sweep | runs ended | at step | best kept |")
    print("|---|---|---|---|---|---|---|")
    for name, settings in PRUNERS.items():
        found = [replay(sweep, settings, slots=2) for sweep in whole]
        steps = sorted(step for one in found for step in one.pruned.values())
        parts = [
            name,
            *(
                _saved([getattr(one, what) for one in found])
                for what in ("training", "runs", "sweep")
            ),
            f"{len(steps)} of {4 * len(whole)}",
            f"{steps[0]} to {steps[-1]}" if steps else "-",
            f"{sum(one.best_kept for one in found)} of {len(whole)}",
        ]
        print(f"| {' | '.join(parts)} |")


def _saved(pairs: list[tuple[float, float]]) -> str:
    shares = [1 - pruned / plain for plain, pruned in pairs]
    return f"{sum(shares) / len(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=("record", "replay"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument(
        "--draws", type=int, default=0, help="simulated sweeps of each recorded one"
    )
    chosen = parser.parse_args()
    if chosen.action == "record":
        record(chosen.file, chosen.seeds)
    else:
        table(read(chosen.file), chosen.draws)


if __name__ == "__main__":
    main()
