"""Any dataset as a benchmark, from a local copy; test_gsm8k.py reads from a real hub."""

import json

import pytest
from omegaconf import OmegaConf

from rlvr.data.load import load_benchmark
from rlvr.data.sources.hub import load
from rlvr.errors import UserError
from rlvr.verify.numeric import NumericVerifier

COLUMNS = {"hub_id": "some/where", "question": "question_concat", "answer": "Answer"}


def test_a_local_copy_with_the_hubs_columns(tmp_path):
    file = tmp_path / "svamp.jsonl"
    file.write_text(json.dumps({"question_concat": "1 + 1?", "Answer": "2.0", "Type": "sum"}))
    (row,) = load(path=str(file), seed=1, **COLUMNS)["test"]
    assert (row["question"], row["gold"], row["Type"]) == ("1 + 1?", "2.0", "sum")


def test_a_missing_column_is_named_with_those_there_are(tmp_path):
    file = tmp_path / "other.jsonl"
    file.write_text('{"text": "1 + 1?"}')
    with pytest.raises(UserError, match=r"other.jsonl:1: .*'question_concat'.*the row has text"):
        load(path=str(file), seed=1, **COLUMNS)


def test_svamp_as_it_is_configured(compose_config, tmp_path):
    file = tmp_path / "svamp.jsonl"
    file.write_text(json.dumps({"question_concat": "1 + 1?", "Answer": "2.0"}))
    path = f"eval.benchmarks.svamp.path={file}"
    cfg = compose_config("~launcher", "benchmark=svamp", path, "shots=3").eval.benchmarks.svamp
    OmegaConf.resolve(cfg)
    part = load_benchmark(cfg, seed=1, verifier=NumericVerifier())
    (row,) = part.test.to_list()
    assert row["gold"] == "2"
    assert row["prompt"].count("Question:") == 4
    assert part.stop.strings == ("\nQuestion:",)
