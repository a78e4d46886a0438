"""One emulator of pretended jobs for each test file, emptied before each test."""

from collections.abc import Iterator

import pytest

from .emulated import BUCKET, QUICK, Scripted
from .server import Emulator


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(pretend=Scripted(speed=20)) as emulator:
        emulator.client("s3").create_bucket(Bucket=BUCKET)
        yield emulator


@pytest.fixture
def pretended(server: Emulator) -> Emulator:
    server.reset()
    assert isinstance(server.pretend, Scripted)
    server.pretend.scripted = QUICK
    return server
