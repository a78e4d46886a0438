"""Requests to a SageMaker tracking server, as sagemaker-mlflow sends them, at a server of ours."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import mlflow
import pytest

from rlvr.tracking.store import open_experiment

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:mlflow-tracking-server/mine"


class Handler(BaseHTTPRequestHandler):
    seen: list[tuple[str, dict[str, str]]] = []

    def _answer(self, code: int, content: dict[str, str]) -> None:
        self.seen.append((self.path.partition("?")[0], dict(self.headers)))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no experiment"})

    def do_POST(self) -> None:
        self._answer(200, {"experiment_id": "7"})

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("SAGEMAKER_MLFLOW_CUSTOM_ENDPOINT", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    yield Handler
    server.shutdown()
    server.server_close()
    mlflow.set_tracking_uri(None)


def test_requests_are_signed_for_the_tracking_server(server):
    assert open_experiment(ARN, "test")[1] == "7"
    paths = [path.rpartition("mlflow/")[2] for path, _ in server.seen]
    assert paths == ["experiments/get-by-name", "experiments/create"]
    for _, headers in server.seen:
        assert headers["x-mlflow-sm-tracking-server-arn"] == ARN
        assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=testing/")
        assert "/eu-west-1/sagemaker-mlflow/" in headers["Authorization"]
