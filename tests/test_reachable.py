"""A server or hub model that cannot be had is said before any data loads, in one message."""

import http.server
import json
import socket
import threading
import time

import pytest

from rlvr import reachable
from rlvr.errors import UserError

MODELS = {"some/open": {"gated": False}, "some/gated": {"gated": "manual"}}


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub's API does for its models."""

    def do_GET(self):
        name, _, revision = self.path.removeprefix("/api/models/").partition("/revision/")
        known = name in MODELS and revision in ("", "main")
        error = "RevisionNotFound" if name in MODELS else "RepoNotFound"
        body = json.dumps({"id": name, **MODELS.get(name, {})}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(body)))
        if not known:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        use_hub(monkeypatch, tmp_path, f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()


def use_hub(monkeypatch, tmp_path, url):
    import huggingface_hub.constants
    import huggingface_hub.hf_api

    reachable.model_problem.cache_clear()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


def unused_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize(
    ("path", "revision", "problem"),
    [
        ("package:tiny", None, None),
        ("some/open", None, None),
        ("some/open", "main", None),
        ("some/open", "v9", "no revision v9 (model.revision)"),
        ("some/opn", None, "the hub has no such model"),
        ("some/gated", None, "gated: accept its terms at https://huggingface.co/some/gated"),
        ("some/where/else", None, "neither a directory nor a name on the Hugging Face hub"),
    ],
)
def test_the_hub_is_asked_for_what_is_not_here(hub, path, revision, problem):
    found = reachable.model_problem(path, revision)
    assert found is None if problem is None else problem in found


def test_a_hub_that_does_not_answer_is_said_at_once(monkeypatch, tmp_path, caplog, capfd):
    use_hub(monkeypatch, tmp_path, f"http://127.0.0.1:{unused_port()}")
    started = time.monotonic()
    said = reachable.model_problem("some/open", None)
    assert "not in the hub's cache, and the hub does not answer (" in said
    assert len(said.splitlines()) == 1
    assert time.monotonic() - started < 5
    assert not caplog.records
    assert capfd.readouterr().err == ""


def test_offline_nobody_is_asked(hub, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids asking" in reachable.model_problem("some/open", None)


def test_a_run_is_refused_by_the_key_to_change(hub, compose_config):
    with pytest.raises(UserError) as refused:
        reachable.check(compose_config("model.path=some/opn", "tracking=none"))
    assert str(refused.value).startswith("model.path=some/opn: the hub has no such model")
    uri = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(UserError) as refused:
        reachable.check(compose_config("model=tiny", f"tracking.uri={uri}"))
    assert str(refused.value).startswith(f"tracking.uri={uri}: cannot use this MLflow store")
    reachable.check(compose_config("model=tiny", "tracking=none"))
