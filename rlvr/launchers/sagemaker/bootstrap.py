"""What a SageMaker container runs as PID 1: `exec python -m rlvr.launchers.sagemaker.bootstrap`.

It restores what an interrupted life left, starts the worker, passes SIGTERM on, and leaves result,
model and the reason of a failure where SageMaker takes them from. Standard library only, apart from
boto3, which fetches a secret and exchanges answers of base models with other jobs.

/opt/ml/checkpoints/run is the job's directory: SageMaker copies it to S3 all the time, whatever
becomes of the job, and brings it back after an interruption.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rlvr.launchers.sagemaker.shared_answers import SharedAnswers

ML = Path("/opt/ml")
RUN = "run"
CODE = ML / "input/data/code"
OUTPUTS = Path("/tmp/rlvr")  # what the run shares with others; its own is in its directory
TERM_TO_KILL = 100.0  # SageMaker kills 120 s after SIGTERM
FAILURE_LENGTH = 1024
END_OF_LOG = "[rlvr] the job has ended with exit code"
SECRET_VARIABLE = "RLVR_HF_TOKEN_ARN"
TOPIC_VARIABLE = "RLVR_NOTIFY_TOPIC"


@dataclass
class Container:
    """The parts of /opt/ml that concern us."""

    ml: Path
    job: dict[str, Any]
    resources: dict[str, Any]

    @classmethod
    def read(cls, ml: Path = ML) -> "Container":
        job = json.loads((ml / "input/data/job/job.json").read_text(encoding="utf-8"))
        config = ml / "input/config/resourceconfig.json"
        return cls(ml, job, json.loads(config.read_text(encoding="utf-8")))

    @property
    def run_dir(self) -> Path:
        return self.ml / "checkpoints" / RUN

    @property
    def work_dir(self) -> Path:
        """Where the worker works: the run directory, or the path a pickled task expects."""
        return Path(self.job.get("directory", self.run_dir))


def main() -> int:
    container = Container.read()
    prepare(container)
    answers = SharedAnswers(OUTPUTS / "evaluations", **container.job["answers"])
    answers.start()
    code = supervise(start(container))
    answers.end()
    finish(container, code)
    tell(container, code)
    say(f"{END_OF_LOG} {code}")
    return code


def tell(container: Container, code: int) -> None:
    """Of a detached sweep each job says by itself that it has ended, to an SNS topic."""
    topic = os.environ.get(TOPIC_VARIABLE)
    if topic is None or container.resources["current_host"] != "algo-1":
        return
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    name = os.environ.get("TRAINING_JOB_NAME", "a training job")
    ending = "finished" if code == 0 else failure(container.run_dir, code)
    try:
        client = boto3.client("sns", region_name=topic.split(":")[3])
        client.publish(TopicArn=topic, Subject=f"rlvr: {name}"[:100], Message=ending)
    except (BotoCoreError, ClientError) as error:
        say(f"the topic was not told: {error}")


def say(text: str) -> None:
    print(text if text.startswith("[rlvr]") else f"[rlvr] {text}", flush=True)


def prepare(container: Container) -> None:
    """Give the worker a directory that holds its files, and what an earlier life left."""
    run_dir, work_dir = container.run_dir, container.work_dir
    for folder in (run_dir, work_dir):
        folder.mkdir(parents=True, exist_ok=True)
    lives = run_dir / "lives.json"
    life = 1 + (json.loads(lives.read_text()) if lives.is_file() else 0)
    lives.write_text(json.dumps(life), encoding="utf-8")
    for stale in ("result.json", "progress.json", "return.pkl"):
        (run_dir / stale).unlink(missing_ok=True)
    if life > 1:
        say(f"start number {life}")
    for path in (container.ml / "input/data/job").iterdir():
        shutil.copy(path, work_dir / path.name)
    say(
        f"Python {sys.version.split()[0]}, {gpus()} GPUs, {len(container.resources['hosts'])} hosts"
    )


def gpus() -> int:
    return int(os.environ.get("SM_NUM_GPUS", "0"))


def command(container: Container) -> list[str]:
    """One worker, which makes its own ranks and meets those of other hosts."""
    return [sys.executable, "-m", container.job["module"], str(container.work_dir)]


def hosts(container: Container) -> dict[str, str]:
    """As `rlvr.ranks` reads them; nothing where there is one."""
    names = sorted(container.resources["hosts"], key=lambda host: int(host.rpartition("-")[2]))
    if len(names) == 1:
        return {}
    here = names.index(container.resources["current_host"])
    return {"RLVR_HOSTS": ",".join(names), "RLVR_HOST": str(here)}


def start(container: Container) -> "subprocess.Popen[bytes]":
    cwd = Path(container.job.get("cwd", CODE))
    cwd.mkdir(parents=True, exist_ok=True)
    env = {**environment(), **hosts(container)}
    return subprocess.Popen(command(container), cwd=cwd, env=env, start_new_session=True)


def environment() -> dict[str, str]:
    """The container's own, with our code importable and the token fetched from Secrets Manager."""
    env = dict(os.environ)
    paths = [str(CODE), str(CODE / "launchers"), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    env["PYTHONUNBUFFERED"] = "1"
    env["RLVR_OUTPUT_DIR"] = str(OUTPUTS)
    env["RLVR_EXCHANGED_ANSWERS"] = str(OUTPUTS / "evaluations")
    env.setdefault("HF_HOME", "/tmp/huggingface")
    arn = env.pop(SECRET_VARIABLE, None)
    if arn:
        env["HF_TOKEN"] = fetch_secret(arn)
    return env


def fetch_secret(arn: str) -> str:
    """The secret itself, or its only value where it is stored as JSON."""
    import boto3

    region = arn.split(":")[3]
    client = boto3.client("secretsmanager", region_name=region)
    text: str = client.get_secret_value(SecretId=arn)["SecretString"]
    if text.lstrip().startswith("{"):
        values = json.loads(text)
        return str(values.get("HF_TOKEN") or next(iter(values.values())))
    return text.strip()


def supervise(child: "subprocess.Popen[bytes]") -> int:
    """Wait for the worker, as PID 1 must; its exit code, 128 + n for signal n."""
    stop_requests: list[float] = []

    def on_term(number: int, frame: FrameType | None) -> None:
        if not stop_requests:
            say("SIGTERM: the worker may save and end")
            child.send_signal(signal.SIGTERM)
        stop_requests.append(time.monotonic())

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_term)
    while (code := _reaped(child.pid)) is None:
        time.sleep(0.2)
        if stop_requests and time.monotonic() - stop_requests[0] > TERM_TO_KILL:
            os.killpg(child.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _reaped(child: int) -> int | None:
    """Collect every process that has ended; the child's exit code once it is among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 1
        if pid == 0:
            return None
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def finish(container: Container, code: int) -> None:
    """Results to the output, the model to the model folder, the reason to the failure file."""
    run_dir, work_dir = container.run_dir, container.work_dir
    if work_dir != run_dir:
        shutil.copytree(work_dir, run_dir, dirs_exist_ok=True)
    if container.resources["current_host"] != "algo-1":
        return
    kept_out = shutil.ignore_patterns("checkpoints", "model", ".*.part")
    shutil.copytree(run_dir, container.ml / "output/data", dirs_exist_ok=True, ignore=kept_out)
    if (run_dir / "model").is_dir() and code == 0:
        shutil.copytree(run_dir / "model", container.ml / "model", dirs_exist_ok=True)
        shutil.rmtree(run_dir / "model")
    if code != 0:
        reason = failure(run_dir, code)
        (container.ml / "output/failure").write_text(reason, encoding="utf-8")
        say(f"failure: {reason.splitlines()[0]}")


def failure(run_dir: Path, code: int) -> str:
    """The job's own exception with the end of its traceback, in what FailureReason can hold."""
    try:
        result = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        result = {}
    error = result.get("error")
    if not error:
        return _without_result(code)
    trace = (result.get("traceback") or "").strip()
    room = FAILURE_LENGTH - len(error) - 5
    return f"{error}\n...{trace[-room:]}" if trace and room > 80 else error[:FAILURE_LENGTH]


def _without_result(code: int) -> str:
    if code <= 128:
        return f"the worker ended with exit code {code} and left no result; see the log"
    name = signal.Signals(code - 128).name
    hint = ": most likely out of memory, take a larger instance" if code == 137 else ""
    return f"the worker was killed by {name}{hint}"


if __name__ == "__main__":
    sys.exit(main())
