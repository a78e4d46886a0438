"""`rlvr serve`: vLLM for trainers on other machines, one run after the other."""

import json
import os
import signal
import socket
import sys
import tempfile
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge
from pathlib import Path

from rlvr.errors import UserError
from rlvr.sampling.vllm import process
from rlvr.sampling.vllm.handshake import begin, patient, token, version
from rlvr.sampling.vllm.settings import unusable

HOST = "127.0.0.1"


def listen(port: int) -> None:
    """Until Ctrl-C or SIGTERM. Raises UserError without vLLM or a token, or where it is taken."""
    if reason := unusable():
        raise UserError(reason)
    token()
    try:
        listening = socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise UserError(f"--port {port}: {reason}; choose another one") from None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with listening:
        _say(f"listening on {HOST}:{listening.getsockname()[1]}")
        while True:
            _attend(patient(listening.accept()[0]))


def _attend(connection: Connection) -> None:
    """Until the trainer or its engine has ended; nothing is left of them."""
    with tempfile.TemporaryDirectory(prefix="rlvr-vllm-") as received:
        with connection:
            try:
                deliver_challenge(connection, token())
                answer_challenge(connection, token())
                connection.send_bytes(json.dumps(version()).encode())
            # The last is what Python 3.11 makes of bytes that are no answer.
            except (AuthenticationError, OSError, EOFError, AssertionError) as error:
                return _say(f"refused one that does not know the token: {error}")
            begin(connection)
            child = process.start(connection.fileno(), Path(received))
        _say("a run has begun")
        try:
            child.wait()
        finally:
            process.end(child)
    return _say("the run has gone")


def _say(what: str) -> None:
    print(f"rlvr serve: {what}", flush=True)
