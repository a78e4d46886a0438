"""How a trainer and `rlvr serve` meet: what both must know, and a connection that ends with either.

Both know a token, which is proved by its HMAC and never sent. What follows is plain text: the
server listens on its own machine alone, and an ssh tunnel leads there.
"""

import os
import socket
import struct
from multiprocessing.connection import Connection
from pathlib import Path

from rlvr import __version__
from rlvr.digests import digest_files
from rlvr.errors import UserError
from rlvr.sampling.vllm.settings import TOKEN

PATIENCE = 60  # seconds that either end waits for the other to introduce itself
LOST = 120  # seconds after which a machine that does not answer is gone


def token() -> bytes:
    """The secret of both ends, which no configuration holds."""
    if not (found := os.environ.get(TOKEN)):
        raise UserError(
            f"set {TOKEN} in the environment, to the same secret here and where the other end runs"
        )
    return found.encode()


def version() -> str:
    """Of what both ends must agree on: messages, and what a stop is."""
    sources = digest_files(Path(__file__).parents[1], ("*.py", "vllm/*.py"))
    return f"rlvr {__version__} (sampling {sources})"


def patient(found: socket.socket) -> Connection:
    """A connection that notices when the other machine is gone; before `begin` it also hurries."""
    found.settimeout(None)
    for option, value in (
        (socket.TCP_NODELAY, 1),
        (socket.TCP_KEEPIDLE, LOST // 2),
        (socket.TCP_KEEPINTVL, LOST // 8),
        (socket.TCP_USER_TIMEOUT, 1000 * LOST),
    ):
        found.setsockopt(socket.IPPROTO_TCP, option, value)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection = Connection(found.detach())
    _wait_for(connection, PATIENCE)
    return connection


def begin(connection: Connection) -> None:
    """The two have met: from now on either may work for as long as it needs."""
    _wait_for(connection, 0)


def _wait_for(connection: Connection, seconds: int) -> None:
    """At most so long for the next bytes; 0 is for ever."""
    with socket.socket(fileno=os.dup(connection.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", seconds, 0))
