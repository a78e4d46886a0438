"""vLLM on another machine, where `rlvr serve` runs. No file system is shared: the base model, where
it is a folder, and what is trained are sent over the connection."""

import json
import socket
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from pathlib import Path

from rlvr.errors import UserError
from rlvr.sampling.vllm import process
from rlvr.sampling.vllm.handshake import PATIENCE, begin, patient, token, version
from rlvr.sampling.vllm.server import Server
from rlvr.sampling.vllm.settings import TOKEN, VllmSettings


class RemoteServer(Server):
    """An engine that `rlvr serve` starts for us, and ends when we go."""

    def __init__(self, settings: VllmSettings) -> None:
        assert settings.server is not None
        self.address = settings.server
        connection = connect(self.address)
        super().__init__(connection, settings, connection.close)

    def _there(self, folder: Path, name: str) -> str:
        process.send_files(self._connection, folder, name)
        return str(self._answer())

    def _end(self) -> str:
        return f"at {self.address} has closed the connection"

    @property
    def _log(self) -> str:
        return "what rlvr serve has printed there"


def connect(address: str) -> Connection:
    """To a server of the same version that knows our token; else UserError."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.create_connection((host, int(port)), timeout=PATIENCE)
    except OSError as error:
        raise _refusal(address, f"cannot be reached ({error}): run rlvr serve there") from None
    connection = patient(found)
    try:
        answer_challenge(connection, token())
        deliver_challenge(connection, token())
        theirs = json.loads(connection.recv_bytes())
    except AuthenticationError:
        raise _refusal(address, f"does not know the token that {TOKEN} is here") from None
    # The last is what Python 3.11 makes of another service's bytes.
    except (OSError, EOFError, AssertionError):
        raise _refusal(
            address,
            f"did not answer as rlvr serve does within {PATIENCE} seconds: another run has it, or "
            "the tunnel leads elsewhere",
        ) from None
    if theirs != version():
        raise _refusal(address, f"is {theirs}, and here is {version()}: install one on both")
    begin(connection)
    return connection


def _refusal(address: str, why: str) -> UserError:
    return UserError(f"trainer.vllm.server={address} {why} (docs/vllm.md)")
