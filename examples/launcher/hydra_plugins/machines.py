"""`launcher=machines`: the runs of a sweep on machines that a command reaches, such as `ssh gpu2`,
`docker exec box` or `nice -n 19`, one at a time on each. They share a file system and Python.

Every job has a shell script in its directory, which is run through the machine's command, so that
nothing is quoted twice; what it leaves there says how the job is. Jobs outlive this process.
"""

import os
import shlex
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hydra_plugins.rlvr_launchers._base import SweepLauncher, register
from rlvr.errors import UserError
from rlvr.manifest import Job
from rlvr.result import Result, of_exit
from rlvr.states import State
from rlvr.sweep.runner import Runner
from rlvr.sweep.settings import Settings, bounded

PATIENCE = 30.0  # seconds until a machine counts as unreachable
SCRIPT = """\
job={directory}
case "$1" in
start)
    cd {here}
    exec >> {log} 2>&1 < /dev/null
    {exports}
    echo $$ > "$job/shell"
    setsid {command} &
    echo $! > "$job/pid"
    [ ! -e "$job/stop" ] || kill -s TERM -- "-$!"
    wait $!
    echo $? > "$job/exit.part" && mv "$job/exit.part" "$job/exit" ;;
alive) kill -0 "$(cat "$job/shell")" 2> /dev/null && echo yes || echo no ;;
stop) touch "$job/stop"; kill -s TERM -- "-$(cat "$job/pid")" ;;
kill) touch "$job/stop"; kill -s KILL -- "-$(cat "$job/pid")" ;;
esac
"""


@dataclass
class MachinesSettings(Settings):
    machines: list[str] = field(default_factory=lambda: ["env"])
    check_seconds: float = bounded(30, 0.1)

    def problems(self, launcher: str) -> Iterator[str]:
        yield from super().problems(launcher)
        if not self.machines:
            yield 'launcher.machines is empty: give ["ssh gpu1"], say, or [env] for this machine'


class MachinesRunner(Runner):
    name = "machines"
    settings = MachinesSettings

    def __init__(self) -> None:
        self._check_at: dict[int, float] = {}  # by the job's index
        self._clients: list[subprocess.Popen[bytes]] = []

    def prepare(self, jobs: Sequence[Job], sweep: object) -> None:
        settings = self.read(jobs[0])
        assert isinstance(settings, MachinesSettings)
        self.machines, self.pause = settings.machines, settings.check_seconds
        self.n_jobs = min(settings.n_jobs or len(self.machines), len(self.machines))
        for machine in dict.fromkeys(self.machines):
            done = call(machine, "true")
            if done.returncode:
                raise UserError(
                    f"launcher.machines: `{machine} true` fails: {done.stderr.strip()}. Each entry "
                    "is put before a command that is then run on the machine."
                )

    def attachable(self, job: Job) -> bool:
        if (job.directory / "exit").exists() or not (job.directory / "pid").exists():
            return False
        answer = ask(job, "alive")
        if answer is None:
            machine = job.remote and job.remote["machine"]
            raise UserError(
                f"`{machine}` does not answer, and {job.label} may run there: try later"
            )
        return answer == "yes"

    def submit(self) -> None:
        while self.waiting and len(self.running) < self.n_jobs:
            taken = Counter(job.remote["machine"] for job in self.running if job.remote)
            free = Counter(self.machines) - taken
            self._start(self.waiting.pop(0), next(iter(free.elements())))

    def _start(self, job: Job, machine: str) -> None:
        """The record comes first: whoever finds it finds the job, or that it has not begun."""
        left = [job.directory / name for name in ("shell", "pid", "exit", "stop")]
        for stale in [*left, *job.directory.glob("job-*.sh")]:
            stale.unlink(missing_ok=True)  # an earlier start that is still on its way ends here
        script = job.directory.absolute() / f"job-{uuid.uuid4().hex[:8]}.sh"
        script.write_text(self._script(job), encoding="utf-8")
        self.sweep.submitted(job, {"machine": machine, "script": str(script)})
        client = subprocess.Popen(
            [*shlex.split(machine), "sh", str(script), "start"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # it outlives this process, and its Ctrl-C
        )
        self._clients.append(client)
        self._check_at[job.index] = time.monotonic() + self.pause
        self.running.append(job)

    def _script(self, job: Job) -> str:
        environment = self.sweep.environment(job)
        return SCRIPT.format(
            directory=shlex.quote(str(job.directory.absolute())),
            here=shlex.quote(os.getcwd()),
            log=shlex.quote(str(self.sweep.log_file(job).absolute())),
            exports="; ".join(f"export {k}={shlex.quote(v)}" for k, v in environment.items()),
            command=shlex.join(self.sweep.command(job)),
        )

    def poll(self, job: Job) -> bool:
        if job.state is State.pending and (job.directory / "pid").exists():
            self.sweep.started(job)
        ended = job.directory / "exit"
        if ended.exists():
            code = int(ended.read_text())  # as sh has it: 128 and the signal
            death = of_exit(job.index, 128 - code if code > 128 else code)
            self.sweep.ended(job, self.sweep.result(job) or death)
            return True
        return self._is_gone(job)

    def _is_gone(self, job: Job) -> bool:
        """Its machine has been restarted, or never began. One that does not answer says nothing."""
        if time.monotonic() < self._check_at.get(job.index, 0.0):
            return False
        self._check_at[job.index] = time.monotonic() + self.pause
        self._clients = [client for client in self._clients if client.poll() is None]
        gone = ask(job, "alive") == "no" and not (job.directory / "exit").exists()
        if gone:
            self.sweep.ended(job, Result(State.lost, error="its machine does not run it any more"))
        return gone

    def cancel(self, requests: int) -> bool:
        self.sweep.terminal.say(f"stopping {len(self.running)} jobs (again to kill them at once)")
        for job in self.running:
            ask(job, "stop" if requests == 1 else "kill")
        return True

    def abandon(self) -> None:
        self.sweep.terminal.say(
            f"{len(self.running)} jobs go on: resume the sweep to wait for them"
        )


def call(machine: str, *command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [*shlex.split(machine), *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 255, "", str(error))


def ask(job: Job, what: str) -> str | None:
    """What the job's script says on the job's machine; None where that cannot be reached."""
    assert job.remote is not None
    done = call(job.remote["machine"], "sh", job.remote["script"], what)
    return done.stdout.strip() or None


class MachinesLauncher(SweepLauncher):
    @staticmethod
    def make_runner() -> Runner:
        return MachinesRunner()


register("machines", MachinesLauncher)
