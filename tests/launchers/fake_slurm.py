"""A scheduler small enough to read: Slurm's commands, by the name this file is called with.

All lies in $FAKE_SLURM: `jobs/100_0.json` a file a task, written by its array's scheduler alone,
and `ledger.jsonl`, a line for all that ever happened to any task. A scheduler is one process an
array: it sleeps until a child ends, a command comes (a file in `requests/` and SIGUSR1) or a time
limit is near, and ends with its last task. Processes of a task are found, as by Slurm's cgroups,
by what they inherit. Array limits and time limits hold; resources do not, but that the partition
`full` refuses and `held` never starts.

Beside Slurm's commands, with a task such as 100_0:
  preempt    SIGTERM, SIGKILL after $FAKE_SLURM_KILL_WAIT seconds, queued again
  announce   SIGUSR2, as some sites do before a pre-emption
  grace      SIGTERM, as at the start of the grace time before a pre-emption
  node_fail  SIGKILL, queued again
  lose       SIGKILL, NODE_FAIL, not queued again
  forget     SIGKILL, and no trace of it
`shutdown` ends all.

Faults: each line of `faults/COMMAND` is for one call of that command, first to last; a `*` at its
end makes it stay. `fail`: the command does nothing and fails; sacct also has `empty`, sbatch also
  lost       the jobs are made, the command fails
  killed     the same, by SIGKILL
  slow S     S seconds before the jobs are made
  late S     S seconds between the jobs and the answer
"""

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ["FAKE_SLURM"])
KILL_WAIT = float(os.environ.get("FAKE_SLURM_KILL_WAIT", 30))
SIGNALS = {signal.SIGCHLD, signal.SIGUSR1}
LIVE = ("PENDING", "RUNNING", "COMPLETING")


def main(command, *arguments):
    for folder in ("jobs", "requests", "faults", "scripts"):
        (STATE / folder).mkdir(parents=True, exist_ok=True)
    fault = "" if command == "scheduler" else next_fault(command)
    if fault == "fail":
        sys.exit(f"{command}: error: Unable to contact slurm controller (connect failure)")
    if fault == "empty":
        return
    COMMANDS[command](*arguments, **({"fault": fault} if command == "sbatch" else {}))


def next_fault(command):
    file = STATE / "faults" / command
    if not file.exists():
        return ""
    with file.open("r+") as lines:
        fcntl.flock(lines, fcntl.LOCK_EX)
        first, *others = lines.read().splitlines() or [""]
        if not first.endswith("*"):
            lines.seek(0)
            lines.truncate()
            lines.write("".join(f"{line}\n" for line in others))
    return first.removesuffix("*")


def read(job):
    return json.loads((STATE / "jobs" / f"{job}.json").read_text())


def write(job, **values):
    path = STATE / "jobs" / f"{job}.json"
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({**(read(job) if path.exists() else {}), **values}))
    temporary.replace(path)


def note(job, what, **more):
    line = json.dumps({"job": job, "what": what, "time": round(time.time(), 3), **more})
    with (STATE / "ledger.jsonl").open("a") as ledger:
        ledger.write(line + "\n")


def option(text, name):
    found = re.search(rf"^#SBATCH --{name}=(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def sbatch(*arguments, fault):
    kind, _, seconds = fault.partition(" ")
    if kind == "slow":
        time.sleep(float(seconds))
    text = Path(arguments[-1]).read_text()
    if option(text, "partition") == "full":
        sys.exit("sbatch: error: Batch job submission failed: Invalid partition name specified")
    number = new_number()
    (STATE / "scripts" / number).write_text(text)
    array = re.fullmatch(r"0-(\d+)%(\d+)", option(text, "array"))
    tasks, limit = array.groups() if array else ("0", "1")
    for task in range(int(tasks) + 1):
        about = {"name": option(text, "job-name"), "id": f"{number}_{task}" if array else number}
        write(f"{number}_{task}", state="PENDING", restarts=0, **about)
        note(f"{number}_{task}", "submitted", name=option(text, "job-name"))
    process = subprocess.Popen(
        [sys.executable, "-S", __file__, "scheduler", number, limit],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=(STATE / "errors.log").open("a"),
        start_new_session=True,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS),
    )
    (STATE / "scripts" / f"{number}.pid").write_text(str(process.pid))
    if kind == "late":
        time.sleep(float(seconds))
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "lost":
        sys.exit("sbatch: error: Batch job submission failed: Socket timed out on send/recv")
    print(f"Submitted batch job {number}")


def new_number():
    with (STATE / "numbers").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("x")
        file.flush()
        return str(99 + file.tell())


class Scheduler:
    """The tasks of one array, each a bash that runs its script."""

    def __init__(self, number, limit):
        self.number, self.limit = number, int(limit)
        self.text = (STATE / "scripts" / number).read_text()
        jobs = [path.stem for path in (STATE / "jobs").glob(f"{number}_*.json")]
        self.waiting = sorted(jobs, key=lambda job: int(job.partition("_")[2]))
        self.processes, self.kill_at, self.warn_at, self.end_at = {}, {}, {}, {}
        self.becomes = {}  # what a task ends as that is being ended
        if option(self.text, "partition") == "held":
            self.limit = 0

    def run(self):
        while self.waiting or self.processes:
            while self.waiting and len(self.processes) < self.limit:
                self.start(self.waiting.pop(0))
            deadlines = [*self.kill_at.values(), *self.warn_at.values(), *self.end_at.values()]
            wait = min(deadlines) - time.time() if deadlines else 3600
            signal.sigtimedwait(SIGNALS, max(0.0, wait))
            self.obey()
            self.watch_clocks()
            for job in [
                job for job, process in self.processes.items() if process.poll() is not None
            ]:
                self.over(job)

    def start(self, job):
        nodes, minutes = int(option(self.text, "nodes") or 1), float(option(self.text, "time"))
        end = time.time() + 60 * minutes
        task = job.partition("_")[2]
        array = {"SLURM_ARRAY_JOB_ID": self.number, "SLURM_ARRAY_TASK_ID": task}
        environment = os.environ | {
            **(array if option(self.text, "array") else {}),
            "FAKE_SLURM_STEP": "",
            "FAKE_SLURM_TASK": job,
            "SLURM_NTASKS": str(nodes),
            "SLURM_JOB_ID": self.number,
            "SLURM_JOB_NUM_NODES": str(nodes),
            "SLURM_JOB_NODELIST": f"localhost[1-{nodes}]",
            "SLURM_JOB_END_TIME": str(int(end)),
            "SLURM_RESTART_COUNT": str(read(job)["restarts"]),
            "SLURM_CPUS_PER_TASK": option(self.text, "cpus-per-task"),
        }
        with Path(named(option(self.text, "output"), environment)).open("a") as out:
            process = subprocess.Popen(
                ["bash", str(STATE / "scripts" / self.number)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS),
            )
        self.processes[job] = process
        self.warn_at[job] = end - float(option(self.text, "signal").partition("@")[2])
        self.end_at[job] = end
        write(job, state="RUNNING")
        note(job, "started", restart=read(job)["restarts"], pid=process.pid)

    def obey(self):
        for file in sorted((STATE / "requests").glob(f"{self.number}_*")):
            job, _, what = file.name.partition(".")
            file.unlink()
            note(job, what)
            if job in self.waiting and what in ("cancel", "lose", "forget"):
                self.waiting.remove(job)
                self.end(job, BECOMES[what])
            elif job in self.processes and what in ("announce", "grace"):
                kill(job, signal.SIGUSR2 if what == "announce" else signal.SIGTERM)
            elif job in self.processes:
                self.stop(job, BECOMES[what], at_once=what in ("node_fail", "lose", "forget"))

    def stop(self, job, becomes, at_once=False):
        self.becomes.setdefault(job, becomes)
        self.warn_at.pop(job, None)
        self.end_at.pop(job, None)
        self.kill_at.setdefault(job, time.time() + (0 if at_once else KILL_WAIT))
        if not at_once:
            write(job, state="COMPLETING")
            kill(job, signal.SIGTERM)

    def watch_clocks(self):
        now = time.time()
        for job in [job for job, at in self.warn_at.items() if at <= now]:
            del self.warn_at[job]
            note(job, "warned")
            kill(job, signal.SIGUSR2)
        for job in [job for job, at in self.end_at.items() if at <= now]:
            self.stop(job, "TIMEOUT")
        for job in [job for job, at in self.kill_at.items() if at <= now]:
            del self.kill_at[job]
            os.killpg(self.processes[job].pid, signal.SIGKILL)
            kill(job, signal.SIGKILL)
            self.processes[job].wait()

    def over(self, job):
        code = self.processes.pop(job).returncode
        kill(job, signal.SIGKILL)
        for clock in (self.kill_at, self.warn_at, self.end_at):
            clock.pop(job, None)
        self.end(job, self.becomes.pop(job, "FAILED" if code else "COMPLETED"))

    def end(self, job, state):
        note(job, "ended", state=state)
        if state == "REQUEUED":
            write(job, state="PENDING", restarts=read(job)["restarts"] + 1)
            self.waiting.append(job)
        else:
            write(job, state=state)


BECOMES = {
    "cancel": "CANCELLED by 0",
    "requeue": "REQUEUED",
    "preempt": "REQUEUED",
    "node_fail": "REQUEUED",
    "lose": "NODE_FAIL",
    "forget": "forgotten",
}


def kill(job, number):
    """All processes of the task's steps, but not the script that started them."""
    mark = f"FAKE_SLURM_STEP={STATE}/{job}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile, or is another user's
            if mark in (folder / "environ").read_bytes() + b"\0":
                os.kill(int(folder.name), number)


def scheduler(number, limit):
    Scheduler(number, limit).run()


def request(what, job):
    """To the scheduler of the job's array, if there is one still."""
    if (STATE / "jobs" / f"{job}.json").exists() and read(job)["state"] in LIVE:
        (STATE / "requests" / f"{job}.{what}").touch()
        with contextlib.suppress(ProcessLookupError):
            pid = int((STATE / "scripts" / f"{job.partition('_')[0]}.pid").read_text())
            os.kill(pid, signal.SIGUSR1)


def shutdown():
    """End all that runs, as after a test."""
    for file in (STATE / "scripts").glob("*.pid"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.read_text()), signal.SIGKILL)
    for path in (STATE / "jobs").glob("*.json"):
        if read(path.stem)["state"] in ("RUNNING", "COMPLETING"):
            kill(path.stem, signal.SIGKILL)


def named(pattern, environment):
    """The file of `%j`, `%A_%a` and `%t`."""
    values = {"%j": "SLURM_JOB_ID", "%A": "SLURM_ARRAY_JOB_ID", "%a": "SLURM_ARRAY_TASK_ID"}
    for short, name in values.items():
        pattern = pattern.replace(short, environment.get(name, ""))
    return pattern.replace("%t", environment.get("SLURM_PROCID", "0"))


def srun(*arguments):
    """The command once a node, in processes that the scheduler can tell from others."""
    _, _, output, *command = arguments  # --unbuffered --output FILE
    os.environ["FAKE_SLURM_STEP"] = f"{STATE}/{os.environ['FAKE_SLURM_TASK']}"
    tasks = []
    for node in map(str, range(int(os.environ["SLURM_JOB_NUM_NODES"]))):
        place = {"SLURM_NODEID": node, "SLURM_PROCID": node, "SLURM_LOCALID": "0"}
        with open(named(output, place | dict(os.environ)), "a") as out:
            tasks.append(
                subprocess.Popen(
                    command, env=os.environ | place, stdout=out, stderr=subprocess.STDOUT
                )
            )
    sys.exit(max(abs(task.wait()) for task in tasks))


def listed(arguments):
    """Names and tasks of the submissions that `--name=` asks for."""
    names = next(a for a in arguments if a.startswith("--name=")).removeprefix("--name=").split(",")
    for path in sorted((STATE / "jobs").glob("*.json")):
        if (job := read(path.stem))["name"] in names and job["state"] != "forgotten":
            yield path.stem, job


def squeue(*arguments):
    """Slurm drops what has ended after minutes; this one at once where `squeue_drops` is there."""
    drops = (STATE / "squeue_drops").exists()
    for _, job in listed(arguments):
        if job["state"] in LIVE or not drops:
            print(f"{job['name']}|{job['id']}|{job['state'].partition(' ')[0]}")


def sacct(*arguments):
    for _, job in listed(arguments):
        print(f"{job['name']}|{job['id']}|{job['state']}")


def scancel(*arguments):
    with (STATE / "scancel.log").open("a") as log:
        log.write(" ".join(arguments) + "\n")
    for number, _ in listed(arguments):
        request("cancel", number)


def scontrol(verb, what, *others):
    if verb == "requeue":
        request("requeue", what if "_" in what else f"{what}_0")
    else:  # show hostnames localhost[1-2]: all of them are this machine
        print("localhost\n" * int(re.search(r"-(\d+)\]", others[0])[1]), end="")


SLURMS = (sbatch, srun, squeue, sacct, scancel, scontrol)
COMMANDS = {f.__name__: f for f in (*SLURMS, scheduler, shutdown)}
for admin in ("preempt", "announce", "grace", "node_fail", "lose", "forget"):
    COMMANDS[admin] = lambda job, what=admin: request(what, job)

if __name__ == "__main__":
    main(*sys.argv[1:])
