"""`rlvr serve` and a trainer, as two unrelated processes. No engine is needed to be refused."""

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from rlvr.errors import UserError
from rlvr.sampling.vllm import handshake, listen, remote
from rlvr.sampling.vllm.settings import TOKEN, VllmSettings

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def address(serving):
    """Of a server that would have no vLLM to start."""
    return serving(
        "-c", "from rlvr.sampling.vllm import listen as l; l.unusable = lambda: None; l.listen(0)"
    )


def test_only_who_knows_the_token_is_served(serving, address, monkeypatch, waited):
    right = os.environ[TOKEN]
    monkeypatch.setenv(TOKEN, "wrong")
    with pytest.raises(UserError, match=rf"={address} does not know the token that {TOKEN} is"):
        remote.connect(address)
    assert serving.children() == []
    monkeypatch.setenv(TOKEN, right)
    for _ in range(2):  # one after the other
        with remote.connect(address):
            waited(serving.children)
        waited(lambda: not serving.children())


def test_a_token_is_asked_for_at_both_ends(monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)
    monkeypatch.setattr(listen, "unusable", lambda: None)
    with pytest.raises(UserError, match=f"set {TOKEN} in the environment"):
        listen.listen(0)
    with pytest.raises(UserError, match=f"set {TOKEN} in the environment"):
        handshake.token()


def test_another_version_is_refused_with_both_named(serving, address, monkeypatch, waited):
    monkeypatch.setattr(remote, "version", lambda: "rlvr 9.9")
    with pytest.raises(UserError, match=r"is rlvr \d.*, and here is rlvr 9\.9: install one on bo"):
        remote.connect(address)
    waited(lambda: not serving.children())


def test_a_server_that_is_killed_takes_its_engine_along(serving, address, waited):
    with remote.connect(address) as connection:
        (child,) = waited(serving.children)
        serving.process.send_signal(signal.SIGKILL)
        waited(lambda: not Path(f"/proc/{child}").exists())
        with pytest.raises(EOFError):
            connection.recv_bytes()


def test_a_server_that_is_told_to_end_leaves_nothing(serving, address, waited):
    with remote.connect(address):
        (child,) = waited(serving.children)
        serving.process.terminate()
        assert serving.process.wait(60) == 0
        waited(lambda: not Path(f"/proc/{child}").exists())
    assert list(serving.temporary.iterdir()) == []


def test_a_port_that_is_taken_is_one_message(monkeypatch, token):
    monkeypatch.setattr(listen, "unusable", lambda: None)
    with socket.create_server((listen.HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"--port {port}: .*in use; choose another"):
            listen.listen(port)


def test_an_address_where_nothing_listens_is_one_message(token):
    with socket.create_server((listen.HOST, 0)) as free:
        address = f"{listen.HOST}:{free.getsockname()[1]}"
    settings = VllmSettings("/nowhere", None, False, "float32", 64, 0, 0.3, "", server=address)
    with pytest.raises(UserError, match=rf"={address} cannot be reached .*refused.*run rlvr serve"):
        remote.RemoteServer(settings)


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x04what", b"", None]
)
def test_another_service_is_one_message(said, token, monkeypatch):
    """One that answers, one that closes, one that is silent."""
    monkeypatch.setattr(handshake, "PATIENCE", 1)
    over = threading.Event()
    with socket.create_server((listen.HOST, 0)) as service:

        def answer():
            caller = service.accept()[0]
            with caller:
                caller.sendall(said or b"")
                if said is None:
                    over.wait(60)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UserError, match="did not answer as rlvr serve does"):
            remote.connect(f"{listen.HOST}:{service.getsockname()[1]}")
        over.set()
        thread.join()
