"""`rlvr push` against a hub on this machine: the real one was never asked."""

import base64
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rlvr import result
from rlvr.errors import UserError
from rlvr.hub.push import push
from rlvr.states import State


class Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks to make a repository and to commit small files to it."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.asked.append((self.path, self.headers.get("Authorization"), body))
        if self.server.refuse:
            self._answer({"error": "no such token"}, 401)
        elif self.path == "/api/repos/create":
            self._answer({"url": f"{self.server.url}/ours/{json.loads(body)['name']}"})
        elif "/preupload/" in self.path:
            files = [file["path"] for file in json.loads(body)["files"]]
            regular = {"uploadMode": "regular", "shouldIgnore": False}
            self._answer({"files": [{"path": path, **regular} for path in files]})
        elif "/commit/" in self.path:
            self._answer(
                {
                    "success": True,
                    "commitUrl": f"{self.server.url}/ours/mine/commit/1",
                    "commitOid": "1",
                }
            )
        else:  # validate-yaml
            self._answer({"errors": [], "warnings": []})

    def do_GET(self) -> None:
        self._answer({"id": "ours/model", "sha": "0", "siblings": []})

    def _answer(self, answer: dict, code: int = 200) -> None:
        text = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.url, server.asked, server.refuse = f"http://127.0.0.1:{server.server_port}", [], False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def rlvr_push(hub, run_dir: Path, *options: str) -> subprocess.CompletedProcess:
    """In a process of its own: huggingface_hub reads its address when it is imported."""
    own = {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_XET": "1"}
    command = [sys.executable, "-m", "rlvr", "push", str(run_dir), *options]
    environment = {**os.environ, **own, "HF_HUB_OFFLINE": "0"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_model_and_card_are_sent(hub, run_dir, tmp_path: Path):
    done = rlvr_push(hub, run_dir, "--repo", "mine", "--private")
    assert done.returncode == 0, done.stderr
    assert "/ours/mine" in done.stdout
    assert all(token == "Bearer hf_test" for _, token, _ in hub.asked)
    created = json.loads(next(body for path, _, body in hub.asked if path.endswith("create")))
    assert (created["name"], created.get("private") or created.get("visibility")) in (
        ("mine", True),
        ("mine", "private"),
    )
    commit = next(body for path, _, body in hub.asked if "/commit/" in path)
    lines = [json.loads(line) for line in commit.splitlines()]
    sent = {
        line["value"]["path"]: base64.b64decode(line["value"]["content"])
        for line in lines
        if line["key"] == "file"
    }
    assert set(sent) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert b"20.0 to 31.0" in sent["README.md"]
    assert str(tmp_path).encode() not in b"".join(sent.values())


def test_a_hub_that_refuses_is_one_clear_line(hub, run_dir):
    hub.refuse = True
    done = rlvr_push(hub, run_dir, "--repo", "ours/mine")
    assert done.returncode == 1
    assert "the hub did not take ours/mine" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_needs_neither_hub_nor_token(run_dir, capsys):
    push(str(run_dir), None, private=False, dry_run=True)
    text = capsys.readouterr().out
    assert "adapter_model.safetensors" in text
    assert "would go to Qwen-local-gsm8k-grpo-8shot (public); nothing was sent" in text


def test_without_a_token(run_dir, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UserError, match="HF_TOKEN"):
        push(str(run_dir), None, private=False, dry_run=False)


def test_only_a_finished_run_is_pushed(run_dir, tmp_path: Path):
    found = result.read(run_dir)
    found.status = State.failed
    found.write(run_dir)
    with pytest.raises(UserError, match="is failed: only"):
        push(str(run_dir), None, private=False, dry_run=True)
    with pytest.raises(UserError, match="without a result"):
        push(str(tmp_path / "models"), None, private=False, dry_run=True)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("notes.txt", "one\nhf_" + "a1" * 12, "notes.txt:2: a Hugging Face token"),
        (".env", "X=1", r"\.env: a file of this name"),
        ("sub/id_rsa", "x", "id_rsa"),
    ],
)
def test_nothing_secret_is_sent(run_dir, name, text, said):
    file = run_dir / "model" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        push(str(run_dir), None, private=False, dry_run=True)
