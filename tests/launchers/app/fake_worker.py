"""rlvr.worker with another run: cheap, and as bad as its config asks for."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from omegaconf import OmegaConf

from rlvr import result, worker
from rlvr.manifest import FILE, load
from rlvr.processes import is_alive, start_time


def run_job(directory: Path) -> None:
    cfg = OmegaConf.load(directory / "config.yaml")
    seen = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "RLVR_RUN_ID", "MARK")
    about = {"pid": os.getpid(), "manifest": manifest_state(directory), "start": time.time()}
    about |= beside(directory)
    about["env"] = {name: os.environ.get(name) for name in seen}
    with (directory / "attempts.jsonl").open("a") as file:
        file.write(json.dumps(about) + "\n")
    if cfg.child:
        pid = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "60")
        (directory / "child.pid").write_text(str(pid))
    if cfg.do == "twice":
        first = len((directory / "attempts.jsonl").read_text().splitlines()) == 1
        time.sleep(60 if first else 0)
    act(str(cfg.do), float(cfg.seconds))
    record = result.Result(status="finished", metric=float(cfg.value), shots=cfg.shots)
    record.write(directory)
    (directory / "done").touch()


def beside(directory: Path) -> dict:
    """Of earlier starts of the job: who still lives, and whether one has finished."""
    file, done = directory / "attempts.jsonl", directory / "done"
    earlier = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    living = [a["pid"] for a in earlier if is_alive(a["pid"], a["pid_started"])]
    return {"beside": living, "finished": done.exists(), "pid_started": start_time(os.getpid())}


def act(what: str, seconds: float) -> None:
    print(f"about to {what}")
    if what == "raise":
        raise ValueError("this job was told to fail")
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "exit":
        os._exit(7)
    if what == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while what == "wait" and not Path(os.environ["RLVR_OUTPUT_DIR"], "go").exists():
        time.sleep(0.05)
    time.sleep(seconds)


def manifest_state(directory: Path) -> str:
    sweep = next(p for p in directory.parents if (p / FILE).exists())
    return next(j.state for j in load(sweep).jobs if (sweep / j.dir) == directory)


worker.run_job = run_job

if __name__ == "__main__":
    sys.exit(worker.main())
