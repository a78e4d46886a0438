"""Two jobs without a common file system, one bucket (moto's S3), and the store of evaluations."""

import time

import boto3
import pytest
from moto import mock_aws

from rlvr.evaluation.store import EXCHANGED_ROOT, Samples, Store
from rlvr.launchers.sagemaker.shared_answers import PAUSE, SharedAnswers

ASKED = {"m": 1}


@pytest.fixture
def s3(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="bucket")
        yield client


def job(folder):
    return Store(folder, ASKED), SharedAnswers(
        folder, "bucket", "us-east-1", "rlvr/evaluations", None
    )


def answer(text):
    return Samples([text], [1], [True])


def test_each_gets_what_the_other_has_answered(s3, tmp_path):
    (one, mine), (two, theirs) = job(tmp_path / "one"), job(tmp_path / "two")
    one.add({"a": answer("x")})
    two.add({"b": answer("y")})
    for exchange in (mine, theirs, mine):
        exchange.exchange(s3)
    for store in (one, two):
        store.refresh()
        assert store.known == {"a": answer("x"), "b": answer("y")}


def test_what_a_job_does_not_ask_is_not_fetched(s3, tmp_path):
    one, mine = job(tmp_path / "one")
    one.add({"a": answer("x")})
    mine.exchange(s3)
    other = Store(tmp_path / "two", {"m": 2})
    SharedAnswers(tmp_path / "two", "bucket", "us-east-1", "rlvr/evaluations", None).exchange(s3)
    assert not list(other.folder.glob("*.jsonl"))


def test_the_last_answers_are_sent_at_the_end(s3, tmp_path):
    one, mine = job(tmp_path / "one")
    mine.start()
    one.add({"a": answer("x")})
    mine.end()
    two, theirs = job(tmp_path / "two")
    theirs.exchange(s3)
    two.refresh()
    assert two.known == {"a": answer("x")}


def test_who_asks_in_a_new_way_gets_what_others_have_answered_first(s3, tmp_path, monkeypatch):
    one, mine = job(tmp_path / "one")
    one.add({"a": answer("x")})
    mine.exchange(s3)
    folder = tmp_path / "two"
    theirs = SharedAnswers(folder, "bucket", "us-east-1", "rlvr/evaluations", None)
    theirs.start()
    monkeypatch.setenv(EXCHANGED_ROOT, str(folder))
    started = time.monotonic()
    two = Store(folder, ASKED)
    assert time.monotonic() - started < PAUSE, "it does not wait for the next turn"
    two.refresh()
    assert two.known == {"a": answer("x")}
    theirs.end()


def test_a_bucket_that_refuses_does_not_end_the_job(s3, tmp_path, capfd, monkeypatch):
    store = Store(tmp_path, ASKED)
    store.add({"a": answer("x")})
    refused = SharedAnswers(tmp_path, "another", "us-east-1", "rlvr/evaluations", None)
    refused.start()
    refused.end()
    monkeypatch.setenv(EXCHANGED_ROOT, str(tmp_path))
    Store(tmp_path, ASKED)  # does not wait
    assert "answers of the base model are not shared" in capfd.readouterr().out
