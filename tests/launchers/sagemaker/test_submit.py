"""The queue of waiting jobs against a service that is full, busy, unsure or refuses."""

import time

import pytest
from botocore.exceptions import ClientError

from rlvr.launchers.sagemaker import submit
from rlvr.launchers.sagemaker.request import RequestBuilder
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
def queue_of(sweep, monkeypatch):
    """Submissions that wait; `answers` are the next of the service, after them it takes all."""

    def make(regions, *submissions):
        builder = RequestBuilder(regions, "sweep-1")
        made = Queue(sweep, regions, builder.upload_shared)
        made.answers, made.requests = [], []

        def create_training_job(**request):
            made.requests.append(request)
            made.recorded = sweep.state_on_disk().remote
            if made.answers and (answer := made.answers.pop(0)):
                raise answer

        for name in regions.names:
            client = regions.service(name).sagemaker
            monkeypatch.setattr(client, "create_training_job", create_training_job)
        for waiting in submissions:
            builder.make_ready(waiting, "rlvr.worker", {})
            sweep.record.jobs.append(waiting.job)
            made.waiting.append(waiting)
        return made

    return make


@pytest.fixture
def queue(queue_of, regions, submission):
    """Two jobs wait."""
    settings = {"requirements": None, "poll_seconds": 0.01}
    return queue_of(regions, *(submission(index, **settings) for index in (0, 1)))


def names(queue):
    return [request["TrainingJobName"] for request in queue.requests]


def submit_until_taken(queue):
    deadline = time.monotonic() + 10
    while (taken := queue.submit_next()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return taken


def test_the_name_is_in_the_manifest_before_the_request(queue, sweep, storage):
    taken = submit_until_taken(queue)
    assert [queue.recorded["name"]] == names(queue) == [taken.training.name]
    assert taken.training.name.endswith("-1"), "the first attempt"
    assert taken.training.most == taken.highest_cost, "what it may come to counts as spent"
    assert (taken.job.state, sweep.state_on_disk().state) == ("running", "running")
    assert [waiting.job.index for waiting in queue.waiting] == [1]
    assert any(taken.training.name in line for line in sweep.said), "the console's link"
    key = f"{taken.training.job_key}/input"
    assert storage.get(f"{key}/config.yaml") == taken.files["config.yaml"]
    assert storage.get(f"{key}/job.json") == taken.files["job.json"]


def test_two_controllers_ask_for_the_same_training_job(queue, queue_of, regions, submission, sweep):
    """Neither knows of the other, as after a laptop was closed: the service takes one."""
    first = submit_until_taken(queue)
    sweep.record.jobs.clear()
    there = submission(7, requirements=None)
    there.job.index, there.job.hash = first.job.index, first.job.hash
    other = queue_of(regions, there)
    other.answers = [error("ResourceInUse", "Training job names must be unique")]
    taken = submit_until_taken(other)
    assert names(other) == names(queue)
    assert (taken.job.state, taken.training.name) == ("running", first.training.name)
    assert not [line for line in sweep.said if "waiting to submit" in line]


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
    assert queue.submit_next() is None
    assert queue.waiting[0] is first, "its turn is kept"
    assert submit_until_taken(queue) is first
    assert len([line for line in sweep.said if "waiting to submit #0" in line]) == 1
    assert first.job.state == "running"


def test_the_pause_grows_and_ends_with_a_free_instance(queue, monkeypatch):
    monkeypatch.setattr(submit, "LONGEST_PAUSE", 1000.0)
    queue.waiting[0].settings.poll_seconds = 400
    queue.answers = [BUSY]
    assert queue.submit_next() is None
    assert queue.submit_next() is None
    assert len(queue.requests) == 1, "not asked again before the pause is over"
    queue.an_instance_is_free()
    assert queue.submit_next()


def test_a_busy_job_is_pending_without_a_training_job(queue, sweep):
    queue.answers = [BUSY]
    queue.submit_next()
    saved = sweep.state_on_disk()
    assert (saved.state, saved.remote) == ("pending", None), "nothing was started"


def test_a_lost_answer_is_asked_again_under_the_same_name(queue, sweep):
    """The job may exist: under another name it could run twice."""
    queue.answers = [LOST, LOST, error("ResourceInUse", "must be unique")]
    assert queue.submit_next() is None
    assert [sweep.state_on_disk().remote["name"]] == names(queue), "a resume would find it"
    assert queue.waiting[0].unsure
    taken = submit_until_taken(queue)
    assert set(names(queue)) == {taken.training.name}
    assert not taken.unsure
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
    assert queue.submit_next() is None
    assert queue.waiting[0].job.index == 1
    failed = queue.sweep.record.jobs[0]
    assert failed.state == "failed"
    assert failed.error.startswith("not submitted: ")
    assert reason in failed.error
    assert submit_until_taken(queue).job.index == 1


def lack(queue, taken, reason="CapacityError: none left", **told):
    """SageMaker could not run it, or not to its end."""
    for key, value in told.items():
        setattr(taken.training, key, value)
    taken.job.remote = taken.training.entry()
    queue.again(taken, reason)


def test_without_capacity_another_attempt_follows_at_the_next_place(
    queue_of, regions, submission, sweep
):
    fallback = {"fallback_instance_types": ["ml.c5.xlarge"], "poll_seconds": 0.01}
    every = [submission(index, requirements=None, **fallback) for index in (0, 1)]
    queue = queue_of(regions, *every)
    first = submit_until_taken(queue)
    name = first.training.name
    lack(queue, first)
    assert (first.job.state, first.job.remote) == ("pending", None)
    assert sweep.state_on_disk().attempts[0]["retry"] == "CapacityError: none left"
    assert "#0 is submitted again, on ml.c5.xlarge on demand in us-east-1: Cap" in sweep.said[-1]
    assert submit_until_taken(queue).job.index == 1, "it is the others' turn"
    again = submit_until_taken(queue)
    assert again is first
    assert again.training.name == name.removesuffix("1") + "2"
    assert again.training.instance_type == "ml.c5.xlarge"
    assert queue.requests[-1]["ResourceConfig"]["InstanceType"] == "ml.c5.xlarge"
    assert [attempt["name"] for attempt in sweep.state_on_disk().attempts] == [name]


def test_spot_falls_back_to_another_region_and_then_to_on_demand(
    queue_of, two_regions, submission, sweep
):
    """Each with its reason; the checkpoints of what was trained go with it."""
    one = submission(
        config={"trainer": {"save_steps": 1}},
        spot=True,
        on_demand_fallback=True,
        regions=["eu-west-1"],
        bucket="bucket-{region}",
        requirements=None,
        poll_seconds=0.01,
    )
    queue = queue_of(two_regions, one)
    home, there = (two_regions.storage(name) for name in two_regions.names)
    checkpoint = f"{one.ready[0].training.job_key}/checkpoints/run/checkpoint-4/weights"
    submit_until_taken(queue)
    home.put(checkpoint, b"after step 4")
    lack(queue, one, "InternalServerError", training_seconds=60)
    submit_until_taken(queue)
    assert there.get(checkpoint) == b"after step 4"
    there.put(checkpoint, b"after step 4, and more")
    lack(queue, one, "MaxWaitTimeExceeded", training_seconds=30)
    submit_until_taken(queue)
    assert home.get(checkpoint) == b"after step 4, and more"
    tried = [(a["region"], a["spot"], a["retry"]) for a in sweep.state_on_disk().attempts]
    assert tried == [
        ("us-east-1", True, "InternalServerError"),
        ("eu-west-1", True, "MaxWaitTimeExceeded"),
    ]
    assert (one.training.region, one.training.spot) == ("us-east-1", False)
    left = [request["StoppingCondition"]["MaxRuntimeInSeconds"] for request in queue.requests]
    assert left == [18_000, 17_940, 17_910], "they share the time limit"
    for region in two_regions.names:
        assert list(two_regions.storage(region).walk("rlvr/code/")), "the code is there too"


def test_checkpoints_come_from_where_it_trained_last(queue_of, two_regions, submission):
    """Not from the place between, where it never started."""
    one = submission(
        regions=["eu-west-1"],
        fallback_instance_types=["ml.c5.xlarge"],
        bucket="bucket-{region}",
        requirements=None,
        poll_seconds=0.01,
    )
    queue = queue_of(two_regions, one)
    home, there = (two_regions.storage(name) for name in two_regions.names)
    checkpoint = f"{one.ready[0].training.job_key}/checkpoints/run/checkpoint-4/weights"
    submit_until_taken(queue)
    home.put(checkpoint, b"after step 4")
    lack(queue, one, training_seconds=60)
    submit_until_taken(queue)
    assert one.training.instance_type == "ml.c5.xlarge"
    lack(queue, one)
    submit_until_taken(queue)
    assert one.training.region == "eu-west-1"
    assert there.get(checkpoint) == b"after step 4"


def test_an_instance_type_without_quota_is_passed_over(queue_of, regions, submission, sweep):
    settings = {"fallback_instance_types": ["ml.c5.xlarge"], "poll_seconds": 0.01}
    queue = queue_of(regions, submission(requirements=None, **settings))
    none = error("ResourceLimitExceeded", "The account-level service limit is 0 Instances")
    queue.answers = [none]
    assert queue.submit_next() is None
    assert not queue.full, "elsewhere there may be room"
    taken = submit_until_taken(queue)
    assert taken.training.instance_type == "ml.c5.xlarge"
    assert "is 0 Instances" in sweep.state_on_disk().attempts[0]["retry"]
    assert [name[-2:] for name in names(queue)] == ["-1", "-2"]


def test_a_failed_upload_is_waited_out_where_the_store_is_busy(queue, storage, monkeypatch):
    put, answers = storage.client.put_object, [error("SlowDown", status=503)]

    def busy(**asked):
        if answers:
            raise answers.pop()
        return put(**asked)

    monkeypatch.setattr(storage.client, "put_object", busy)
    assert queue.submit_next() is None
    assert (queue.waiting[0].job.remote, queue.waiting[0].unsure) == (None, False)
    assert submit_until_taken(queue).job.index == 0
    assert len(queue.requests) == 1


def test_what_sagemaker_could_not_run_has_cost_all_the_same(queue, sweep):
    first = submit_until_taken(queue)
    queue.waiting.clear()
    lack(queue, first, cost=1.5, training_seconds=1000)
    assert first.job.spent == 1.5
    again = submit_until_taken(queue)
    assert again.seconds_left == 18_000 - 1000, "its tries share the time limit"
    assert queue.requests[-1]["StoppingCondition"]["MaxRuntimeInSeconds"] == 17_000
    assert sweep.state_on_disk().spent == 1.5


def test_what_may_still_be_spent(queue):
    """$6.15 at most for each: the second waits for what the first really costs."""
    for waiting in queue.waiting:
        waiting.settings.max_cost = 10
    assert queue.can_be_paid()
    first = submit_until_taken(queue)
    assert not queue.can_be_paid()
    first.job.remote["cost"], first.job.state = 1.0, State.finished
    assert queue.can_be_paid()
    first.job.remote["cost"] = 6.0
    assert not queue.can_be_paid()


def test_what_is_given_up_is_named_and_stays_pending(queue, sweep):
    submit_until_taken(queue)
    queue.give_up("launcher.max_cost=10: it is spent. Raise it")
    assert queue.waiting == []
    assert sweep.record.jobs[1].state == "pending", "a resumed sweep runs it"
    assert sweep.said[-1].startswith("launcher.max_cost=10: it is spent. Raise it and resume")
    assert "#1 shots=1" in sweep.said[-1]


def test_a_service_that_is_busy_for_an_hour_is_not_waited_for(queue, sweep):
    queue.answers = [BUSY, BUSY]
    assert queue.submit_next() is None
    queue._busy_since -= submit.PATIENCE
    queue.an_instance_is_free()
    assert queue.submit_next() is None
    assert queue.waiting == []
    assert [job.state for job in sweep.record.jobs] == ["pending", "pending"]
    assert "resume the sweep for what was not submitted: #0 shots=0; #1" in sweep.said[-1]


def test_expired_credentials_are_waited_for(queue, regions, monkeypatch):
    asked = []
    monkeypatch.setattr(regions, "reconnect", lambda: asked.append(1))
    queue.answers = [error("ExpiredTokenException")]
    first = queue.waiting[0]
    assert submit_until_taken(queue) is first
    assert asked == [1]


def test_a_lost_answer_does_not_count_twice_against_the_limit(queue, sweep):
    """The job may run: it is asked for again, and named where nothing more is submitted."""
    for waiting in queue.waiting:
        waiting.settings.max_cost = 10
    queue.answers = [LOST]
    assert queue.submit_next() is None
    assert queue.can_be_paid()
    (name,) = names(queue)
    assert submit_until_taken(queue).training.name == name
    queue.answers = [LOST]
    assert queue.submit_next() is None
    queue.leave()
    assert queue.waiting == []
    assert "#1 may have been started" in sweep.said[-1]
    assert names(queue)[-1] in sweep.said[-1]
