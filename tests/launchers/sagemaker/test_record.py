"""The sweep's record in its bucket, and what another machine makes of it."""

import pytest
from botocore.exceptions import ClientError

from rlvr import manifest
from rlvr.errors import UserError
from rlvr.launchers.sagemaker.record import BucketRecord, restored
from rlvr.launchers.sagemaker.request import RequestBuilder
from rlvr.launchers.sagemaker.submit import Queue


@pytest.fixture
def bucket(storage, sweep):
    sweep.save()
    return BucketRecord(storage, "sweep-1")


def ready(regions, submission):
    RequestBuilder(regions, "sweep-1").make_ready(submission, "rlvr.worker", {"A": "1"})
    return submission


def test_a_copy_of_the_manifest_is_kept_up_to_date(bucket, sweep, storage, tmp_path, monkeypatch):
    bucket.copy(sweep.directory)
    sweep.record.name = "changed"
    sweep.save()
    bucket.copy(sweep.directory)
    bucket.fetch(tmp_path / "soon")
    assert manifest.load(tmp_path / "soon").name == "n", "not at every change"
    bucket.copy(sweep.directory, now=True)
    bucket.fetch(tmp_path / "end")
    assert manifest.load(tmp_path / "end") == sweep.record
    uploads = storage.uploads
    bucket.copy(sweep.directory, now=True)
    assert storage.uploads == uploads, "nothing has changed"


def test_a_busy_bucket_is_not_asked_in_every_round(bucket, sweep, storage, caplog, monkeypatch):
    def busy(*_):
        asked.append(1)
        raise ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "PutObject")

    asked = []
    monkeypatch.setattr(storage, "put", busy)
    for _ in range(5):
        bucket.copy(sweep.directory)
    assert len(asked) == len(caplog.messages) == 1
    assert "the record in s3://bucket/rlvr/sweeps/sweep-1 is not up to date" in caplog.text
    bucket.copy(sweep.directory, now=True)
    assert len(asked) == 2, "it is tried again"


def test_a_bucket_without_the_sweep_is_said(bucket, tmp_path):
    with pytest.raises(UserError, match=r"s3://bucket/rlvr/sweeps/sweep-1 has no record"):
        bucket.fetch(tmp_path / "there")
    assert bucket.requests() == {}


@pytest.mark.slow
def test_another_machine_submits_what_this_one_would(bucket, regions, submission, sweep):
    first, second = (
        ready(regions, submission(i, requirements=None, fallback_instance_types=["ml.c5.xlarge"]))
        for i in (0, 1)
    )
    bucket.put_requests([first])
    bucket.put_requests([second])  # those of a resumed sweep join the earlier ones
    stored = bucket.requests()
    assert set(stored) == {0, 1}
    for own in (first, second):
        other = restored(own.job, stored[own.job.index])
        assert (other.ready, other.files, other.settings) == (own.ready, own.files, own.settings)
        assert other.places == own.places
        queue = Queue(sweep, regions)
        assert queue.request(other) == queue.request(own)


def test_prices_are_those_of_the_machine_that_made_the_requests(
    bucket, regions, submission, tmp_path
):
    """Its table is not on the other one, and launcher.max_cost must hold all the same."""
    table = tmp_path / "mine.yaml"
    table.write_text("ml.g6.2xlarge: 7.0\n")
    own = ready(regions, submission(prices=str(table), requirements=None, max_cost=100))
    highest = own.highest_cost
    assert highest == pytest.approx(7.0 * 18_120 / 3600, abs=1e-3)
    bucket.put_requests([own])
    table.unlink()
    assert restored(own.job, bucket.requests()[0]).highest_cost == highest
