"""The queue of waiting jobs against a service that is full, busy, unsure or refuses."""

import time

import pytest
from botocore.exceptions import ClientError

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import submit
from rlvr.launchers.sagemaker.request import RequestBuilder
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.submit import Queue


def error(code: str, message: str = "text", status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": message}}
    return ClientError(
        answer | {"ResponseMetadata": {"HTTPStatusCode": status}}, "CreateTrainingJob"
    )


BUSY = error("ThrottlingException", "Rate exceeded")
LOST = error("InternalFailure", status=500)


@pytest.fixture
def queue(sweep, storage, submission, monkeypatch):
    """Two jobs wait; `queue.answers` are the next of the service, after them it takes all."""
    made = Queue(sweep, RequestBuilder(Service.connect("us-east-1"), storage, "sweep-1"))
    made.answers, made.requests = [], []
    client = made.service.sagemaker

    def create_training_job(**request):
        made.requests.append((request["TrainingJobName"], sweep.state_on_disk().remote))
        if made.answers and (answer := made.answers.pop(0)):
            raise answer

    monkeypatch.setattr(client, "create_training_job", create_training_job)
    for index in (0, 1):
        waiting = submission(index, requirements=None, poll_seconds=0.01, n_jobs=2)
        sweep.record.jobs.append(waiting.job)
        made.add(waiting)
    return made


def submit_until_taken(queue, running=0):
    deadline = time.monotonic() + 10
    while (taken := queue.submit_next(running)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return taken


def test_the_name_is_in_the_manifest_before_the_request(queue, sweep):
    taken = submit_until_taken(queue)
    ((name, recorded),) = queue.requests
    assert recorded["name"] == name == taken.training.name
    assert (taken.job.state, sweep.state_on_disk().state) == ("running", "running")
    assert [waiting.job.index for waiting in queue.waiting] == [1]
    assert any(name in line for line in sweep.said), "the console's link"


def test_as_many_as_may_run_at_once(queue):
    assert queue.submit_next(running=2) is None
    assert not queue.requests
    assert submit_until_taken(queue, running=1)


@pytest.mark.parametrize(
    "answer",
    [
        BUSY,
        error("ResourceLimitExceeded", "limit ... is 2 Instances, utilization of 2"),
        error("Whatever", status=503),
    ],
)
def test_full_and_busy_are_waited_out(queue, sweep, answer):
    queue.answers = [answer, answer]
    first = queue.waiting[0]
    assert queue.submit_next(0) is None
    assert queue.waiting[0] is first, "its turn is kept"
    assert submit_until_taken(queue) is first
    assert len([line for line in sweep.said if "waiting to submit #0" in line]) == 1
    assert first.job.state == "running"


def test_the_pause_grows_and_ends_with_a_free_instance(queue, monkeypatch):
    monkeypatch.setattr(submit, "LONGEST_PAUSE", 1000.0)
    queue.waiting[0].settings.poll_seconds = 400
    queue.answers = [BUSY]
    assert queue.submit_next(0) is None
    assert queue.submit_next(0) is None
    assert len(queue.requests) == 1, "not asked again before the pause is over"
    queue.an_instance_is_free()
    assert queue.submit_next(0)


def test_a_busy_job_is_pending_without_a_training_job(queue, sweep):
    queue.answers = [BUSY]
    queue.submit_next(0)
    saved = sweep.state_on_disk()
    assert (saved.state, saved.remote) == ("pending", None), "nothing was started"


def test_a_lost_answer_is_asked_again_under_the_same_name(queue, sweep):
    """The job may exist: under another name it could run twice."""
    queue.answers = [LOST, LOST, error("ResourceInUse", "must be unique")]
    assert queue.submit_next(0) is None
    assert sweep.state_on_disk().remote["name"] == queue.requests[0][0], "a resume would find it"
    taken = submit_until_taken(queue)
    assert {name for name, _ in queue.requests} == {taken.training.name}
    assert len(queue.requests) == 3


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error("AccessDeniedException"), "docs/sagemaker.md"),
        (error("ResourceLimitExceeded", "the limit is 0 Instances"), "Service Quotas"),
    ],
)
def test_what_no_waiting_mends_fails_the_job(queue, answer, reason):
    queue.answers = [answer]
    assert queue.submit_next(0) is None
    assert queue.waiting[0].job.index == 1
    failed = queue.sweep.record.jobs[0]
    assert failed.state == "failed"
    assert failed.error.startswith("not submitted: ")
    assert reason in failed.error
    assert submit_until_taken(queue).job.index == 1


def test_a_request_the_service_would_refuse_is_not_sent(queue):
    queue.waiting[0].settings.environment["X"] = "x" * 513
    assert queue.submit_next(0) is None
    assert not queue.requests
    assert "length 513" in queue.sweep.record.jobs[0].error


def test_without_capacity_another_training_job_follows(queue):
    queue.waiting[0].settings.fallback_instance_types = ["ml.c5.xlarge"]
    first = submit_until_taken(queue)
    name = first.training.name
    first.capacity_failures += 1
    queue.again(first)
    assert (first.job.state, first.job.remote) == ("pending", None)
    assert submit_until_taken(queue).job.index == 1, "it is the others' turn"
    again = submit_until_taken(queue)
    assert again is first
    assert again.training.name != name
    assert again.training.earlier == [name]
    assert again.training.instance_type == "ml.c5.xlarge"


def test_the_code_is_uploaded_once_and_the_highest_cost_said(queue, storage, sweep):
    queue.prepare()
    assert len([key for key, _ in storage.walk("rlvr/code/")]) == 2, "an archive and its marker"
    assert [line for line in sweep.said if line.startswith("code: ")] == sweep.said[:1]
    assert "2 jobs on ml.g6.2xlarge; at most $12.30, if all run to max_runtime" in sweep.said[1]
    assert "prices of 2025 (from memory" in sweep.said[1]
    queue.waiting[0].settings.instance_type = "ml.unheard.of"
    queue.prepare()
    assert "at most price unknown" in sweep.said[-1]


def test_a_failed_upload_starts_nothing(queue, storage, monkeypatch):
    def full(**_):
        raise error("SlowDown", status=503)

    monkeypatch.setattr(storage.client, "put_object", full)
    with pytest.raises(UserError, match=r"s3://bucket failed, no job was started: SlowDown"):
        queue.prepare()


def test_a_job_that_cannot_reach_the_store_gets_no_run(queue, sweep, storage):
    first = queue.waiting[0]
    first.job.run_id = "r1"
    assert "RLVR_RUN_ID" not in queue._environment(first)
    reaching = Queue(sweep, RequestBuilder(queue.service, storage, tracked=True))
    assert reaching._environment(first)["RLVR_RUN_ID"] == "r1"
    assert "PYTHONPATH" not in reaching._environment(first), "this machine's paths"
