"""A process that holds vLLM's engine and answers one trainer, until the connection ends.

Each message is a line of JSON; a file follows the message that announces it, in parts.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from rlvr.processes import PARENT, end_group
from rlvr.sampling.vllm.settings import VllmSettings

ALIVE = 10.0  # seconds between signs of life
PART = 2**24  # bytes of a file that are sent at a time
MODEL, UPDATE = "model", "update"  # folders for what is received; each replaces the one before


def start(
    connection: int, received: Path, stdout: IO[bytes] | None = None, gpu: str | None = None
) -> "subprocess.Popen[bytes]":
    """It talks over the file descriptor, and keeps in `received` what files it is sent.

    `gpu` is what CUDA_VISIBLE_DEVICES is to it; None leaves that, and None for `stdout` ours.
    """
    surroundings = {**os.environ, PARENT: str(os.getpid())}
    if gpu is not None:
        surroundings["CUDA_VISIBLE_DEVICES"] = gpu
    return subprocess.Popen(
        [sys.executable, "-m", __name__, str(connection), str(received)],
        env=surroundings,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.STDOUT if stdout else None,
        pass_fds=[connection],
        start_new_session=True,  # Ctrl-C is ours to pass on
    )


def end(process: "subprocess.Popen[bytes]") -> None:
    """Its end of the connection tells it only when it is idle; what works is killed."""
    end_group(process.pid)
    process.wait()


def tell(connection: Connection, **message: Any) -> None:
    connection.send_bytes(json.dumps(message).encode())


def send_files(connection: Connection, folder: Path, name: str) -> None:
    """All files of a folder, without those of folders in it."""
    files = [file for file in sorted(folder.iterdir()) if file.is_file()]
    tell(connection, files={file.name: file.stat().st_size for file in files}, name=name)
    for file in files:
        with file.open("rb") as stream:
            while part := stream.read(PART):
                connection.send_bytes(part)


def receive_files(connection: Connection, sizes: dict[str, int], received: Path, name: str) -> str:
    if name not in (MODEL, UPDATE):  # it is about to be replaced
        raise ValueError(f"{name!r} is no folder for what is received")
    folder = received / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file, size in sizes.items():
        with (folder / Path(file).name).open("wb") as stream:
            while stream.tell() < size:
                stream.write(connection.recv_bytes())
    return str(folder)


def serve(connection: Connection, received: Path) -> None:
    """Answer until the other end is gone."""
    core: Any = None
    while True:
        message = json.loads(connection.recv_bytes())
        if "settings" in message:
            core, done = _load(VllmSettings(**message["settings"])), None
        elif "files" in message:
            done = receive_files(connection, message["files"], received, message["name"])
        else:
            done = _answer(core, message, connection)
        tell(connection, done=done)


def _load(settings: VllmSettings) -> Any:
    from transformers import AutoTokenizer

    from rlvr.sampling.vllm.core import Core

    tokenizer = AutoTokenizer.from_pretrained(
        settings.model,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
    )
    return Core(settings, tokenizer)


def _answer(core: Any, message: dict[str, Any], connection: Connection) -> Any:
    from rlvr.sampling.engine import Sampling
    from rlvr.sampling.stop import StopRule

    if "adapter" in message:
        folder = message["adapter"]
        return core.take_adapter(Path(folder) if folder else None)
    if "weights" in message:
        return core.take_weights(Path(message["weights"]))
    said = time.monotonic()

    def on_step() -> None:
        nonlocal said
        if time.monotonic() - said > ALIVE:
            said = time.monotonic()
            tell(connection, alive=True)

    rule = message["stop"]
    drawn = core.sample(
        message["prompts"],
        Sampling(**message["sampling"]),
        StopRule(tuple(rule["strings"]), rule["answer_prefix"]),
        message["seeds"],
        message["eos"],
        lambda row, text: tell(connection, row=row, text=text),
        on_step,
    )
    return asdict(drawn)


def main() -> None:
    from rlvr.processes import end_with_parent

    end_with_parent()
    connection = Connection(int(sys.argv[1]))
    try:
        serve(connection, Path(sys.argv[2]))
    except (
        EOFError,
        ConnectionError,
        TimeoutError,
    ):  # the trainer is gone
        return
    except Exception as error:
        tell(connection, error=f"failed: {type(error).__name__}: {error}")
        raise


if __name__ == "__main__":
    main()
