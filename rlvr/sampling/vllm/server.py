"""The other end of vLLM in a process of its own, and the one that we start, watch and end.

The two talk over a pair of connected sockets that the child inherits: there is no port that could
be taken and no address that anybody else could reach. The child ends when its parent does, however
that ends; a child that ends, or says nothing for long, ends the run with its name.
"""

import json
import socket
import subprocess
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rlvr.errors import UserError
from rlvr.processes import describe_exit
from rlvr.sampling.engine import Completions, OnFinished, Sampling
from rlvr.sampling.stop import StopRule
from rlvr.sampling.vllm import process
from rlvr.sampling.vllm.settings import VllmSettings

SILENCE = 900.0  # seconds without a word, after which a server hangs; loading takes a minute
KEY = "trainer.generation=vllm_server"


class Server(ABC):
    """What `Core` is, at the other end of a connection. It is up when this returns."""

    def __init__(
        self, connection: Connection, settings: VllmSettings, end: Callable[[], None]
    ) -> None:
        self._connection = connection
        self.close = weakref.finalize(self, end)
        if (model := Path(settings.model)).is_dir():  # else a name on the hub
            settings = replace(settings, model=self._there(model, process.MODEL))
        self._ask({"settings": asdict(settings)})

    def take_adapter(self, folder: Path | None) -> None:
        self._ask({"adapter": folder and self._there(folder, process.UPDATE)})

    def take_weights(self, folder: Path) -> None:
        self._ask({"weights": self._there(folder, process.UPDATE)})

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

    @abstractmethod
    def _there(self, folder: Path, name: str) -> str:
        """The path of a folder of ours where the server is, which may keep it as `name`."""

    @abstractmethod
    def _end(self) -> str:
        """How it has ended, after the connection is lost."""

    @property
    @abstractmethod
    def _log(self) -> str:
        """Where to read what it said."""

    def _ask(self, message: dict[str, Any], on_finished: OnFinished | None = None) -> Any:
        """The answer; rows that end before it are told to `on_finished`."""
        try:
            process.tell(self._connection, **message)
            return self._answer(on_finished)
        except (EOFError, OSError):
            raise self._failure(self._end()) from None
        except KeyboardInterrupt:  # its answer would be taken for that to the next question
            self.close()
            raise

    def _answer(self, on_finished: OnFinished | None = None) -> Any:
        while self._connection.poll(SILENCE):
            answer = json.loads(self._connection.recv_bytes())
            if "row" in answer and on_finished is not None:
                on_finished(answer["row"], answer["text"])
            elif "error" in answer:
                raise self._failure(answer["error"])
            elif "done" in answer:
                return answer["done"]
        raise self._failure(f"has said nothing for {SILENCE:.0f} seconds")

    def _failure(self, what: str) -> UserError:
        self.close()
        return UserError(
            f"{KEY}: the server {what}; its log is {self._log}. Set trainer.generation=auto to go "
            "on without one"
        )


class OwnServer(Server):
    """Started with this, and gone with it."""

    def __init__(self, settings: VllmSettings, gpu: str | None) -> None:
        ours, theirs = socket.socketpair()
        self.log = Path(settings.log)
        with theirs, self.log.open("ab") as output:
            self.process = process.start(theirs.fileno(), self.log.parent, output, gpu)
        connection = Connection(ours.detach())

        def end(started: "subprocess.Popen[bytes]" = self.process) -> None:
            connection.close()
            process.end(started)

        super().__init__(connection, settings, end)

    def _there(self, folder: Path, name: str) -> str:
        return str(folder)

    def _end(self) -> str:
        return describe_exit(self.process.wait(timeout=60))

    @property
    def _log(self) -> str:
        return str(self.log)
