"""vLLM in a process of its own: on another GPU, or where it must not disturb this process.

The two talk over a pair of connected sockets that the child inherits: there is no port that could
be taken and no address that anybody else could reach. The child ends when its parent does, however
that ends; a child that ends, or says nothing for long, ends the run with its name.
"""

import json
import os
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.processes import PARENT, describe_exit, end_group
from rlvr.sampling.engine import Completions, OnFinished, Sampling
from rlvr.sampling.stop import StopRule
from rlvr.sampling.vllm.settings import VllmSettings

SILENCE = 900.0  # seconds without a word, after which a server hangs; loading takes a minute
ALIVE = 10.0  # seconds between signs of life
KEY = "trainer.generation=vllm_server"


class Server:
    """What `Core` is, at the other end of a socket. It is up when this returns."""

    def __init__(self, settings: VllmSettings, gpu: str | None) -> None:
        """`gpu` is what CUDA_VISIBLE_DEVICES is to the server; None leaves it."""
        ours, theirs = socket.socketpair()
        self.log = Path(settings.log)
        surroundings = {**os.environ, PARENT: str(os.getpid())}
        if gpu is not None:
            surroundings["CUDA_VISIBLE_DEVICES"] = gpu
        with theirs, self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                env=surroundings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is ours to pass on
            )
        self._connection = Connection(ours.detach())
        self.close = weakref.finalize(self, _end, self.process, self._connection)
        self._ask(asdict(settings))

    def take_adapter(self, folder: Path | None) -> None:
        self._ask({"adapter": str(folder) if folder else None})

    def take_weights(self, folder: Path) -> None:
        self._ask({"weights": str(folder)})

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        stop: StopRule,
        seeds: Sequence[int],
        eos: Sequence[int],
        on_finished: OnFinished | None = None,
    ) -> Completions:
        asked = {
            "prompts": [list(prompt) for prompt in prompts],
            "sampling": asdict(sampling),
            "stop": asdict(stop),
            "seeds": list(seeds),
            "eos": list(eos),
        }
        return Completions(**self._ask(asked, on_finished))

    def _ask(self, message: dict[str, Any], on_finished: OnFinished | None = None) -> Any:
        """The answer; rows that end before it are told to `on_finished`."""
        try:
            self._connection.send_bytes(json.dumps(message).encode())
            while self._connection.poll(SILENCE):
                answer = json.loads(self._connection.recv_bytes())
                if "row" in answer and on_finished is not None:
                    on_finished(answer["row"], answer["text"])
                elif "error" in answer:
                    raise self._failure(answer["error"])
                elif "done" in answer:
                    return answer["done"]
        except (EOFError, OSError):
            code = self.process.wait(timeout=60)
            raise self._failure(describe_exit(code)) from None
        except KeyboardInterrupt:  # its answer would be taken for that to the next question
            self.close()
            raise
        raise self._failure(f"has said nothing for {SILENCE:.0f} seconds")

    def _failure(self, what: str) -> UserError:
        self.close()
        return UserError(
            f"{KEY}: the server {what}; its log is {self.log}. Set trainer.generation=auto to go "
            "on without one"
        )


def _end(process: "subprocess.Popen[bytes]", connection: Connection) -> None:
    """A closed connection ends an idle server; one that works, or what it started, is killed."""
    connection.close()
    end_group(process.pid)
    process.wait()


def serve(connection: Connection) -> None:
    """Answer until the other end is gone."""
    from transformers import AutoTokenizer

    from rlvr.sampling.vllm.core import Core

    settings = VllmSettings(**json.loads(connection.recv_bytes()))
    tokenizer = AutoTokenizer.from_pretrained(
        settings.model,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
    )
    core = Core(settings, tokenizer)
    _tell(connection, done=None)
    while True:
        message = json.loads(connection.recv_bytes())
        _tell(connection, done=_answer(core, message, connection))


def _answer(core: Any, message: dict[str, Any], connection: Connection) -> Any:
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
            _tell(connection, alive=True)

    rule = message["stop"]
    drawn = core.sample(
        message["prompts"],
        Sampling(**message["sampling"]),
        StopRule(tuple(rule["strings"]), rule["answer_prefix"]),
        message["seeds"],
        message["eos"],
        lambda row, text: _tell(connection, row=row, text=text),
        on_step,
    )
    return asdict(drawn)


def _tell(connection: Connection, **message: Any) -> None:
    connection.send_bytes(json.dumps(message).encode())


def main() -> None:
    from rlvr.processes import end_with_parent

    end_with_parent()
    connection = Connection(int(sys.argv[1]))
    try:
        serve(connection)
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        _tell(connection, error=f"failed: {type(error).__name__}: {error}")
        raise


if __name__ == "__main__":
    main()
