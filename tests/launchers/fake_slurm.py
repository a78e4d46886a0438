"""A scheduler small enough to read: sbatch, srun, sacct and scancel, by the name it is called.

State lies in $FAKE_SLURM: one JSON file per job. Array limits hold; resources are ignored.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

STATE = Path(os.environ["FAKE_SLURM"])


def write(job: str, **values: object) -> None:
    path = STATE / f"{job}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    temporary = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(json.dumps({**known, **values}))
    temporary.replace(path)


def read(job: str) -> dict:
    return json.loads((STATE / f"{job}.json").read_text())


def sbatch(script: str) -> None:
    text = Path(script).read_text()
    (STATE / "scripts").mkdir(exist_ok=True)
    number = str(100 + len(list((STATE / "scripts").iterdir())))
    (STATE / "scripts" / number).write_text(text)
    array = re.search(r"--array=(\d+)-(\d+)%(\d+)", text)
    tasks = range(int(array[2]) + 1) if array else [None]
    for task in tasks:
        write(number if task is None else f"{number}_{task}", state="PENDING")
    limit = array[3] if array else "1"
    command = [sys.executable, __file__, "scheduler", number, limit, *map(str, tasks)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.Popen(command, start_new_session=True, **quiet)
    print(f"Submitted batch job {number}")


def scheduler(number: str, limit: str, *tasks: str) -> None:
    free = threading.Semaphore(int(limit))
    threads = [threading.Thread(target=one, args=(number, task, free)) for task in tasks]
    for thread in threads:
        thread.start()


def one(number: str, task: str, free: threading.Semaphore) -> None:
    job = number if task == "None" else f"{number}_{task}"
    with free:
        if read(job)["state"] != "PENDING":
            return
        env = os.environ | {"SLURM_JOB_ID": number, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1"}
        env |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
        if task != "None":
            env |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": task}
        script = ["bash", str(STATE / "scripts" / number)]
        process = subprocess.Popen(script, env=env, start_new_session=True)
        write(job, state="RUNNING", pid=process.pid)
        code = process.wait()
        if read(job)["state"] == "RUNNING":
            write(job, state="COMPLETED" if code == 0 else "FAILED")


def srun(*arguments: str) -> None:
    options, command = list(arguments), []
    number = os.environ["SLURM_JOB_ID"]
    names = {"%j": number, "%t": "0", "%A": number, "%a": os.environ.get("SLURM_ARRAY_TASK_ID", "")}
    files = {}
    while options and options[0].startswith("-"):
        option = options.pop(0)
        if option in ("--output", "--error"):
            path = options.pop(0)
            for short, value in names.items():
                path = path.replace(short, value)
            files[option] = path
    command = options
    Path(files["--output"]).parent.mkdir(parents=True, exist_ok=True)
    with open(files["--output"], "a") as out, open(files["--error"], "a") as err:
        sys.exit(subprocess.call(command, stdout=out, stderr=err))


def sacct(*arguments: str) -> None:
    wanted = [arguments[i + 1] for i, a in enumerate(arguments) if a == "-j"]
    print("JobID|State|NodeList")
    for path in sorted(STATE.glob("*.json")):
        if path.stem.split("_")[0] in wanted:
            print(f"{path.stem}|{json.loads(path.read_text())['state']}|node1")


def scancel(*jobs: str) -> None:
    (STATE / "scancel.log").open("a").write(shlex.join(jobs) + "\n")
    for job in jobs:
        was = read(job)
        write(job, state="CANCELLED by 0")
        if was["state"] == "RUNNING":
            for pid in [was["pid"], *descendants(was["pid"])]:
                os.kill(pid, signal.SIGTERM)


def descendants(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found = [child for child, parent in pairs if parent == pid]
    return found + [d for child in found for d in descendants(child)]


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    arguments = sys.argv[1:]
    if name == "fake_slurm.py":
        name, *arguments = arguments
    globals()[name](*arguments)
