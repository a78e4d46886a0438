"""The queue of waiting jobs against a service that is full, busy, unsure or refuses."""

import time

import pytest
from botocore.exceptions import ClientError

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import submit
from rlvr.launchers.sagemaker.request import RequestBuilder
from rlvr.launchers.sagemaker.service import Service
from rlvr.launchers.sagemaker.submit import Queue
from rlvr.states import State


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


def test_what_sagemaker_could_not_run_has_cost_all_the_same(queue, sweep):
    first = submit_until_taken(queue)
    first.training.cost, first.training.training_seconds = 1.5, 1000
    first.capacity_failures += 1
    queue.waiting.clear()
    queue.again(first)
    assert first.job.spent == 1.5
    again = submit_until_taken(queue)
    assert again.seconds_left == 18_000 - 1000, "its tries share the time limit"
    assert sweep.state_on_disk().spent == 1.5


def test_nothing_is_submitted_above_the_limit(queue, sweep):
    """$6.15 at most for each: the second waits for what the first really costs."""
    for waiting in queue.waiting:
        waiting.settings.max_cost = 10
    first = submit_until_taken(queue)
    assert queue.submit_next(1) is None
    assert queue.waiting, "the first may cost less than its most"
    first.job.remote["cost"], first.job.state = 1.0, State.finished
    assert queue.waiting[0] is submit_until_taken(queue)


def test_the_limit_ends_the_submitting_and_says_so(queue, sweep):
    for waiting in queue.waiting:
        waiting.settings.max_cost = 10
    first = submit_until_taken(queue)
    first.job.remote["cost"], first.job.state = 6.0, State.finished
    assert queue.submit_next(0) is None
    assert queue.waiting == []
    assert sweep.record.jobs[1].state == "pending", "a resumed sweep runs it"
    assert "launcher.max_cost=10: with $6.00 spent" in sweep.said[-1]
    assert "#1 shots=1" in sweep.said[-1]


def test_a_service_that_is_busy_for_an_hour_is_not_waited_for(queue, sweep):
    queue.answers = [BUSY, BUSY]
    assert queue.submit_next(0) is None
    queue._busy_since -= submit.PATIENCE
    queue.an_instance_is_free()
    assert queue.submit_next(0) is None
    assert queue.waiting == []
    assert [job.state for job in sweep.record.jobs] == ["pending", "pending"]
    assert "resume the sweep for what was not submitted: #0 shots=0; #1" in sweep.said[-1]


def test_expired_credentials_are_waited_for(queue, sweep, monkeypatch):
    asked = []
    monkeypatch.setattr(queue.service, "reconnect", lambda: asked.append(1))
    queue.answers = [error("ExpiredTokenException")]
    first = queue.waiting[0]
    assert submit_until_taken(queue) is first
    assert asked == [1]


def test_a_resumed_job_is_submitted_again_with_nothing_packed(queue, storage, submission):
    """All jobs were re-attached, so that nothing had been packed; then there was no capacity."""
    queue.waiting.clear()
    attached = submission(2, requirements=None, poll_seconds=0.01)
    attached.training = queue.builder.training_job(attached)
    attached.job.remote, attached.job.state = attached.training.entry(), State.running
    queue.sweep.record.jobs.append(attached.job)
    queue.prepare()
    assert not list(storage.walk(""))
    attached.capacity_failures += 1
    queue.again(attached)
    assert submit_until_taken(queue) is attached
    assert list(storage.walk("rlvr/code/"))


def test_a_lost_answer_does_not_count_twice_against_the_limit(queue, sweep):
    """The job may run: it is asked for again, and named where nothing more is submitted."""
    for waiting in queue.waiting:
        waiting.settings.max_cost = 10
    queue.answers = [LOST]
    assert queue.submit_next(0) is None
    assert queue.waiting[0].unsure
    name = queue.requests[0][0]
    assert submit_until_taken(queue).training.name == name
    queue.answers = [LOST]
    queue.waiting[0].settings.max_cost = 20
    queue.an_instance_is_free()
    assert queue.submit_next(1) is None
    queue.leave()
    assert queue.waiting == []
    assert "#1 may have been started" in sweep.said[-1]
    assert queue.requests[-1][0] in sweep.said[-1]
