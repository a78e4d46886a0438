"""Does a run that is killed end as one that is not? `python benchmarks/kills.py [--kills 20]`

Kills (SIGKILL, SIGTERM, Ctrl-C in turn) at random moments: a run by itself, gone on with after each
kill until it is finished, then the next; and a sweep of two jobs, of which now a job, now the
controller is killed. With `--processes 2` a run of several processes: all of them, or its launcher,
torchrun or a rank, with which the others must end. What they leave is compared, to the bit, with
that of the same run and sweep left undisturbed: losses and all other metrics but times,
completions, evaluations, weights.
"""

import argparse
import hashlib
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch
sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

import hydra  # noqa: E402
import pyarrow.parquet  # noqa: E402

import rlvr.training.trainer  # noqa: E402, F401
from rlvr import config, single_run  # noqa: E402
from rlvr.interruptions import end_on_signals  # noqa: E402
from rlvr.processes import start_time  # noqa: E402
from rlvr.training import checkpoints  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = [
    *("model=tiny", "dataset=word_problems", "shots=2", "peft=lora", "eval=sampled", "eval.n=12"),
    *("trainer.max_steps=16", "trainer.batch_size=8", "eval.batch_size=4"),
    *("trainer.micro_batch_size=4", "trainer.num_generations=4"),
    *("trainer.max_completion_length=24", "trainer.gradient_checkpointing=false"),
    *("trainer.optimizer_steps_per_generation=2", "trainer.num_iterations=2"),
    *("trainer.logging_steps=2", "trainer.eval_steps=6", "trainer.eval_examples=8"),
    *("trainer.learning_rate=5e-4", "trainer.save_minutes=0.002", "dataset.train_examples=40"),
]
STARTING = ("start", "loading libraries", "data", "pre-flight", "loading the model")
KILLS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SWEEP = ["trainer.learning_rate=5e-4,1e-3", "launcher.n_jobs=2", "-m"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="of the run, and of the sweep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["run", "sweep"])
    parser.add_argument("--processes", type=int, help="of one run, instead of run and sweep")
    parser.add_argument("--distributed", default="ddp", help="how several processes share it")
    chosen = parser.parse_args()
    rng = random.Random(chosen.seed)
    kinds: tuple[type[Run], ...] = (Run, Sweep)
    if chosen.processes:
        kinds = (Ranks,)
        Ranks.settings = [
            f"trainer.num_processes={chosen.processes}",
            f"trainer.distributed={chosen.distributed}",
        ]
    print("| what | killed | in which phases | compared | equal |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for what in kinds:
            if chosen.only in (None, what.__name__.lower()):
                print(what(Path(folder)).try_out(chosen.kills, rng), flush=True)


class Forked:
    """A run in a process that need not load the libraries again; as a Popen to who kills it."""

    def __init__(self, place: Path) -> None:
        self._process = multiprocessing.get_context("fork").Process(target=work, args=(place,))
        self._process.start()
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        return self._process.exitcode

    returncode = property(poll)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the run", timeout or 0)
        return self._process.exitcode


def work(place: Path) -> None:
    """What `python train.py` does, from the composed configuration on."""
    os.setsid()
    with (place / "log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, force=True)
    os.environ["RLVR_OUTPUT_DIR"] = str(place / "out")
    config.register()
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = hydra.compose("config", [*SETTINGS, "tracking=none"])
    end_on_signals()
    single_run.start(cfg, place, SETTINGS)


Process = Forked | subprocess.Popen[bytes]


class Run:
    """A run by itself, begun anew in its directory after each kill."""

    jobs: tuple[str, ...] = ("",)
    runs = 0
    working = 0.0  # seconds from the first evaluation on, undisturbed

    def __init__(self, folder: Path) -> None:
        self.folder = folder / type(self).__name__

    def try_out(self, kills: int, rng: random.Random) -> str:
        """A line of the table."""
        quiet, seconds = self.undisturbed()
        moments: list[str] = []
        compared = 0
        different: list[str] = []
        while len(moments) < kills:
            self.runs += 1
            place, ended = self.folder / f"killed-{self.runs}", False
            # Which is faster, stock or shared, belongs to the configuration's record.
            record = quiet / "out/shared_prefix"
            if record.is_dir():
                shutil.copytree(record, place / "out/shared_prefix")
            while not ended:
                ended = self.attempt(place, seconds if len(moments) < kills else None, rng, moments)
            found = self.compare(quiet, place)
            compared, different = compared + found[0], different + found[1]
            print(f"  {place.name} finished, {found}", file=sys.stderr, flush=True)
        counted = ", ".join(f"{moments.count(m)} {m}" for m in sorted(set(moments)))
        verdict = "all" if not different else f"NOT: {', '.join(different)}"
        return f"| {type(self).__name__.lower()} | {kills} | {counted} | {compared} | {verdict} |"

    def attempt(
        self, place: Path, seconds: float | None, rng: random.Random, moments: list[str]
    ) -> bool:
        """Go on until it is killed, or finished: which of the two. Every fourth kill may fall into
        the start, the others come while it works."""
        began, process = time.time(), self.start(place)
        patience = None
        if seconds and len(moments) % 4 == 0:
            patience = rng.uniform(0.1, seconds)
        elif seconds:
            self.await_work(process, place, began)
            patience = rng.uniform(0, self.working)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            moments.append(self.phase(place, began))
            print(f"  {moments[-1]}", file=sys.stderr, flush=True)
            self.kill(process, place, rng, KILLS[len(moments) % len(KILLS)])
            return False
        if process.returncode:
            raise RuntimeError((place / "log").read_text()[-3000:])
        return True

    def undisturbed(self) -> tuple[Path, float]:
        """Where it was left, and how long it took."""
        place, began = self.folder / "undisturbed", time.time()
        process = self.start(place)
        self.await_work(process, place, began)
        self.working = time.time()
        if process.wait():
            raise RuntimeError((place / "log").read_text()[-3000:])
        self.working = time.time() - self.working
        return place, time.time() - began

    def await_work(self, process: Process, place: Path, began: float) -> None:
        while process.poll() is None and self.phase(place, began) in STARTING:
            time.sleep(0.02)

    def start(self, place: Path) -> Process:
        place.mkdir(parents=True, exist_ok=True)
        return Forked(place)

    def phase(self, place: Path, began: float) -> str:
        files = [file for file in place.rglob("progress.json") if file.stat().st_mtime > began]
        if not files:
            return STARTING[0]
        newest = max(files, key=lambda file: file.stat().st_mtime)
        return str(json.loads(newest.read_text())["phase"])

    def kill(
        self,
        process: Process,
        place: Path,
        rng: random.Random,
        number: signal.Signals,
    ) -> None:
        os.killpg(process.pid, number)
        process.wait()

    def compare(self, quiet: Path, tempted: Path) -> tuple[int, list[str]]:
        """How many things were compared, and which are not equal."""
        count = 0
        different: list[str] = []
        for job in self.jobs:
            first, second = left(quiet / job), left(tempted / job)
            count += sum(map(len, first.values()))
            different += [f"{job} {name}" for name in first if first[name] != second[name]]
        return count, different


def train(place: Path, *overrides: str) -> "subprocess.Popen[bytes]":
    """train.py in a session of its own."""
    # Answers of the base model are shared below the output directory: each has its own.
    own = ["tracking=none", f"output_dir={place}/out"]
    with (place / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "train.py", *SETTINGS, *overrides, *own],
            cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


class Sweep(Run):
    """Two jobs at a time; resumed by `launcher.resume`."""

    jobs = ("sweep/0", "sweep/1")

    def start(self, place: Path) -> Process:
        sweep = place / "sweep"
        sweep.parent.mkdir(parents=True, exist_ok=True)
        known = (sweep / "sweep.json").is_file()
        own = [f"launcher.resume={sweep}" if known else f"hydra.sweep.dir={sweep}"]
        return train(place, *SWEEP, *own)

    def kill(
        self,
        process: Process,
        place: Path,
        rng: random.Random,
        number: signal.Signals,
    ) -> None:
        """A job, or the controller, with which its jobs must end."""
        record = place / "sweep/sweep.json"
        jobs = json.loads(record.read_text())["jobs"] if record.is_file() else []
        pids = [job["pid"] for job in jobs if job["pid"] and Path(f"/proc/{job['pid']}").exists()]
        if pids and rng.random() < 0.5:
            os.kill(rng.choice(pids), number)
            process.wait()  # the other job goes on to its end
        else:
            os.kill(process.pid, number)
            process.wait()
        await_end(pids)


class Ranks(Run):
    """Several processes of one run."""

    settings: list[str]

    def start(self, place: Path) -> Process:
        place.mkdir(parents=True, exist_ok=True)
        return train(place, *self.settings, f"hydra.run.dir={place}")

    def kill(
        self,
        process: Process,
        place: Path,
        rng: random.Random,
        number: signal.Signals,
    ) -> None:
        everyone = [process.pid, *descendants(process.pid)]
        if number is signal.SIGKILL:
            victims = rng.choice([everyone, [rng.choice(everyone)]])
        elif number is signal.SIGINT:
            victims = everyone[:1]  # and whoever else a terminal reaches
        else:
            victims = [rng.choice(everyone[:2])]  # the launcher, torchrun
        began = time.monotonic()
        for pid in victims:
            os.killpg(pid, number) if number is signal.SIGINT else os.kill(pid, number)
        process.wait()
        await_end(everyone)
        names = {0: "launcher", 1: "torchrun"}
        who = sorted({names.get(everyone.index(victim), "rank") for victim in victims})
        saved = checkpoints.newest_first(place / "checkpoints")[:1]
        seconds = time.monotonic() - began
        print(f"  {number.name} to {who}: over after {seconds:.1f} s, {saved}", file=sys.stderr)


def descendants(pid: int) -> list[int]:
    """Children before their own."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return children + [found for child in children for found in descendants(child)]


def await_end(pids: list[int]) -> None:
    """Of processes whose parent or controller is gone."""
    deadline = time.monotonic() + 60
    while any(start_time(pid) is not None for pid in pids):
        assert time.monotonic() < deadline, "processes outlive the one that started them"
        time.sleep(0.1)


def left(folder: Path) -> dict[str, list[Any]]:
    """What a finished run leaves, but for times."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    tables = sorted((folder / "checkpoints/completions").glob("*.parquet"))
    weights = sorted((folder / "model").glob("*.safetensors"))
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "finished", result
    return {
        "metrics": [{k: v for k, v in r.items() if "perf/" not in k} for r in records],
        "completions": [pyarrow.parquet.read_table(table).to_pylist() for table in tables],
        "answers": [
            json.loads(line)
            for phase in ("base", "trained")
            for line in (folder / f"evaluations/{phase}.jsonl").read_text().splitlines()
        ],
        "weights": [hashlib.sha256(file.read_bytes()).hexdigest() for file in weights],
        "scores": [result["base"], result["trained"], result["paired"]],
    }


if __name__ == "__main__":
    main()
