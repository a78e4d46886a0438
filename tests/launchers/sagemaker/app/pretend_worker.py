"""rlvr.worker with a pretended training: metrics, checkpoints and progress as the real one has."""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from omegaconf import OmegaConf

from rlvr import result, worker
from rlvr.evaluation.store import EXCHANGED_ROOT, Samples, Store
from rlvr.training import checkpoints


def run_job(directory: Path) -> None:
    cfg = OmegaConf.load(directory / "config.yaml")
    token = os.environ.get("HF_TOKEN", "")
    print("token", hashlib.sha256(token.encode()).hexdigest() if token else None)
    if cfg.dataset.path:
        print("data", (Path(cfg.dataset.path) / "train.jsonl").read_text().strip())
    if cfg.ask:
        ask_base_model()
    begin(str(cfg.do))
    step = last_checkpoint(directory)
    pause = 0 if cfg.hurry and step else cfg.seconds
    while step < cfg.steps:
        step += 1
        time.sleep(pause)
        train(directory, step, cfg.steps)
        if step % cfg.save_steps == 0:
            save(directory / "checkpoints" / f"checkpoint-{step}")
    (directory / "model").mkdir(exist_ok=True)
    (directory / "model" / "adapter.txt").write_text(f"shots={cfg.shots}")
    score = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 10, "correct": 5}
    record = result.Result(
        status="finished",
        metric=cfg.shots / 10,
        shots=cfg.shots,
        trained=score | {"pass_at_k": {"1": 0.5}, "reasons": {"correct": 5, "wrong": 5}},
        run_id=os.environ.get("RLVR_RUN_ID"),
    )
    record.write(directory)


def ask_base_model() -> None:
    """One question, the same in every job."""
    store = Store(Path(os.environ[EXCHANGED_ROOT]), {"model": "base"})
    store.refresh()
    print(f"{len(store.known)} of 1 answers are known")
    if store.missing(["question"]):
        store.add({"question": Samples(["18"], [1], [True])})


def begin(do: str) -> None:
    if do == "raise":
        raise ValueError('this job was told to fail; it\'s "quoted" & $odd')
    if do == "oom":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def last_checkpoint(directory: Path) -> int:
    """The step of the newest whole one; what was recorded after it is trained again."""
    found = checkpoints.newest_first(directory / "checkpoints")
    step = next((checkpoints.step(c) for c in found if not checkpoints.damage(c)), 0)
    print("going on after step", step)
    metrics = directory / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True) if step else []
    metrics.write_text("".join(line for line in lines if json.loads(line)["step"] <= step))
    return step


def train(directory: Path, step: int, steps: int) -> None:
    reward = step / steps
    with (directory / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "reward/total": reward}) + "\n")
    state = {"phase": "train", "step": step, "max_steps": steps, "reward": reward}
    result.write_atomic(directory / "progress.json", json.dumps(state))
    print(f"step {step}")


def save(checkpoint: Path) -> None:
    written = checkpoints.aside(checkpoint.parent) / checkpoint.name
    written.mkdir()
    (written / "weights.bin").write_bytes(b"x" * 1000)
    checkpoints.publish(written, checkpoint.parent)


worker.run_job = run_job

if __name__ == "__main__":
    sys.exit(worker.main())
