import gzip
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr.data.rows import ROW_KEY
from rlvr.data.sources.gsm8k import load
from rlvr.errors import UserError
from rlvr.verify.numeric import NumericVerifier

ROOT = Path(__file__).parents[3]
REAL = ROOT.parent / "shared/data/gsm8k"
needs_gsm8k = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real GSM8K is not at {REAL}")
SHA = "a" * 40
FROM_HUB = """
import json, sys
from rlvr.data.sources.gsm8k import load
from rlvr.errors import UserError
for arguments in json.loads(sys.argv[1]):
    try:
        splits = load(path=None, seed=1, **arguments)
        print([len(rows) for rows in splits.values()], splits["test"][0])
    except UserError as error:
        print("UserError:", error)
"""
README = b"""---
configs:
- config_name: main
  data_files:
  - {split: train, path: main/train-*}
  - {split: test, path: main/test-*}
---
"""


def row(n: int, answer: str | None = None) -> dict[str, str]:
    rationale = f"He has {n} + 1 = <<{n}+1={n + 1}>>{n + 1} pears.\n"
    return {"question": f"Q{n}?", "answer": answer or f"{rationale}#### {n + 1}"}


def lines(count: int) -> list[str]:
    return [json.dumps(row(n)) + "\n" for n in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.jsonl").write_text("".join(lines(20)))
    (tmp_path / "test.jsonl").write_text("".join(lines(5)))
    return tmp_path


def test_rows(folder: Path) -> None:
    splits = load(path=str(folder), seed=1)
    assert {k: len(v) for k, v in splits.items()} == {"train": 20, "test": 5}
    assert splits["train"][2] == {
        ROW_KEY: f"{folder}/train.jsonl:3",
        "question": "Q2?",
        "gold": "3",
        "solution": "He has 2 + 1 = 3 pears.",
    }


def test_gzip_and_the_hubs_parquet_names_give_the_same(folder: Path, tmp_path: Path) -> None:
    import pandas

    expected = [r["gold"] for r in load(path=str(folder), seed=1)["train"]]
    packed, hub = tmp_path / "packed", tmp_path / "hub"
    packed.mkdir()
    (hub / "main").mkdir(parents=True)
    for split, count in (("train", 20), ("test", 5)):
        with gzip.open(packed / f"{split}.jsonl.gz", "wt") as file:
            file.writelines(lines(count))
        frame = pandas.DataFrame([row(n) for n in range(count)])
        frame.to_parquet(hub / "main" / f"{split}-00000-of-00001.parquet")
    for directory in (packed, hub):
        assert [r["gold"] for r in load(path=str(directory), seed=1)["train"]] == expected
    (hub / "main" / "test-00000-of-00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"test-00000-of-00001\.parquet: not a readable parquet"):
        load(path=str(hub), seed=1)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (json.dumps(row(0, "It is 5.")), r"does not end in '#### NUMBER': 'It is 5\.'"),
        (json.dumps(row(0, "It is 5.\n####  ")), r"does not end in '#### NUMBER'"),
        ('{"question": "Q?", "answ', r"not valid JSON .*truncated"),
        (json.dumps({"question": "Q?"}), r"expected the texts question and answer, got question"),
        (json.dumps({"question": None, "answer": "#### 1"}), r"expected the texts"),
    ],
)
def test_a_bad_last_row_is_named(folder: Path, bad: str, message: str) -> None:
    with (folder / "train.jsonl").open("a") as file:
        file.write(bad)
    with pytest.raises(UserError, match=rf"train\.jsonl:21: .*{message}"):
        load(path=str(folder), seed=1)


def test_missing_and_empty_files(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no such directory; expected one that holds train\.jsonl"):
        load(path=str(folder / "train.jsonl"), seed=1)
    (folder / "test.jsonl").write_text("")
    with pytest.raises(UserError, match=r"test\.jsonl: the file is empty"):
        load(path=str(folder), seed=1)
    (folder / "test.jsonl").unlink()
    with pytest.raises(UserError, match=r"there is no test\.jsonl .*holds train\.jsonl"):
        load(path=str(folder), seed=1)


@needs_gsm8k
def test_every_real_gold_becomes_canonical() -> None:
    splits = load(path=str(REAL), seed=1)
    assert {k: len(v) for k, v in splits.items()} == {"train": 7473, "test": 1319}
    everything = splits["train"] + splits["test"]
    canonical = [NumericVerifier().canonical(r["gold"]) for r in everything]
    assert [int(c) for c in canonical] == [int(r["gold"].replace(",", "")) for r in everything]
    assert all(str(int(c)) == c for c in canonical)
    assert sum("," in r["gold"] for r in everything) == 79 + 14
    assert sum(c.startswith("-") for c in canonical) == 3 + 2
    assert not any("<<" in r["solution"] or "####" in r["solution"] for r in everything)


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as `datasets` asks for: one repository, in `server.files`."""

    server: "HubServer"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        files = self.server.files
        if path.startswith("/datasets/openai/gsm8k/resolve/"):
            self.answer(files.get(path.split("/", 6)[6]))
        elif path.startswith(f"/api/datasets/openai/gsm8k/tree/{SHA}/main"):
            self.answer_json([entry(name, body) for name, body in files.items() if "/" in name])
        elif path.startswith(f"/api/datasets/openai/gsm8k/tree/{SHA}"):
            directory = {"type": "directory", "path": "main", "oid": SHA}
            self.answer_json([entry("README.md", README), directory])
        elif path.startswith("/api/datasets/openai/gsm8k"):
            names = [{"rfilename": name} for name in files]
            self.answer_json({"id": "openai/gsm8k", "sha": SHA, "siblings": names, "tags": []})
        else:
            self.answer(None, "RepoNotFound")

    def do_HEAD(self) -> None:
        self.do_GET()

    def answer_json(self, value: object) -> None:
        self.answer(json.dumps(value).encode())

    def answer(self, body: bytes | None, error: str = "EntryNotFound") -> None:
        self.send_response(404 if body is None else 200)
        if body is None:
            self.send_header("X-Error-Code", error)
        else:
            self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", SHA)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body or b"")


class HubServer(http.server.ThreadingHTTPServer):
    files: dict[str, bytes]


def entry(name: str, body: bytes) -> dict[str, object]:
    return {"type": "file", "path": name, "size": len(body), "oid": SHA}


def parquet(count: int) -> bytes:
    import pyarrow
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row(n) for n in range(count)]), buffer)
    return buffer.getvalue()


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of a hub that has openai/gsm8k with 20 and 5 rows."""
    names = {f"main/{s}-00000-of-00001.parquet": n for s, n in (("train", 20), ("test", 5))}
    with HubServer(("127.0.0.1", 0), Hub) as server:
        server.files = {"README.md": README, **{f: parquet(n) for f, n in names.items()}}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def from_hub(home: Path, *arguments: dict[str, str], **environment: str) -> list[str]:
    """What a fresh process prints: `datasets` reads its environment at import."""
    done = subprocess.run(
        [sys.executable, "-c", FROM_HUB, json.dumps(arguments)],
        env={**os.environ, "HF_HOME": str(home), "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.slow
def test_from_the_hub_and_then_from_its_cache(tmp_path: Path, hub: str) -> None:
    """The cache serves a hub that is gone; a pinned version it has not is refused."""
    bad = [{"subset": "socratic"}, {"hub_id": "openai/gsm9k"}]
    online = from_hub(tmp_path, {}, *bad, HF_ENDPOINT=hub, HF_HUB_OFFLINE="0")
    assert online[0].startswith("[20, 5] {'_row': 'openai/gsm8k test row 1', 'question': 'Q0?'")
    assert "'gold': '1', 'solution': 'He has 0 + 1 = 1 pears.'" in online[0]
    assert online[1].startswith("UserError: the hub dataset openai/gsm8k (socratic) could not be")
    assert online[2].startswith(
        "UserError: the hub dataset openai/gsm9k (main) could not be loaded"
    )
    assert len(online) == 3

    pinned = [{"revision": SHA}, {"revision": "b" * 40}]
    gone = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    cached = from_hub(tmp_path, {}, *pinned, **gone)
    assert cached[:2] == [online[0], online[0]]
    assert cached[2].startswith(f"UserError: dataset.loader.revision={'b' * 40} is not in the hub")


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}],
    ids=["offline", "unreachable"],
)
def test_no_network(tmp_path: Path, environment: dict[str, str]) -> None:
    start = time.monotonic()
    (line,) = from_hub(tmp_path, {}, **environment)
    assert line.startswith("UserError: the Hugging Face hub could not be reached")
    assert "dataset.path with local files works offline" in line
    assert time.monotonic() - start < 60  # most of it is the import of datasets
