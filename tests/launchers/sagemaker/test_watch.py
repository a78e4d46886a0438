"""What becomes of running jobs: collected, submitted again, given up, stopped or named."""

import io
import json
import tarfile
import time
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from rlvr import tracking
from rlvr.launchers.sagemaker import mlflow_import
from rlvr.launchers.sagemaker import watch as watch_module
from rlvr.launchers.sagemaker.watch import Watch
from rlvr.states import State
from rlvr.sweep.interrupts import Interrupts

START = datetime(2030, 1, 1, tzinfo=UTC)
RUNNING = {
    "TrainingJobStatus": "InProgress",
    "SecondaryStatus": "Training",
    "TrainingStartTime": START,
}
COMPLETED = {
    **RUNNING,
    "TrainingJobStatus": "Completed",
    "SecondaryStatus": "Completed",
    "BillableTimeInSeconds": 3600,
}
NO_CAPACITY = {
    "TrainingJobStatus": "Failed",
    "SecondaryStatus": "Failed",
    "FailureReason": "CapacityError: none left",
}


class Lines:
    """A log follower without a log service."""

    def __init__(self, service, job, file):
        self.complete, self.polls = True, 0

    def poll(self):
        self.polls += 1


@pytest.fixture
def service(regions):
    return regions.service("us-east-1")


@pytest.fixture
def watch(sweep, regions, service, monkeypatch):
    """`watch.described` is what the service says of its one job; an exception is raised."""
    monkeypatch.setattr(watch_module, "LogFollower", Lines)
    monkeypatch.setattr(watch_module, "_next", lambda submission: 0.0)
    made = Watch(sweep, regions, Interrupts())
    made.described = RUNNING

    def describe(name):
        if isinstance(made.described, Exception):
            raise made.described
        return made.described

    monkeypatch.setattr(service, "describe", describe)
    return made


@pytest.fixture
def running(watch, sweep, submission, training):
    one = submission(poll_seconds=0.1, retries=1)
    one.training = training(tracked=True)
    sweep.record.jobs.append(one.job)
    sweep.submitted(one.job, one.training.entry())
    sweep.started(one.job)
    watch.add(one)
    return one


GOES_ON, OVER = (False, None), (True, None)


def put_output(storage, running, **result):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        body = json.dumps(result).encode()
        info = tarfile.TarInfo("result.json")
        info.size = len(body)
        tar.addfile(info, io.BytesIO(body))
    storage.put(f"{running.training.output_key}/output.tar.gz", buffer.getvalue())


def error(code, status=400):
    answer = {"Error": {"Code": code, "Message": "text"}}
    return ClientError(answer | {"ResponseMetadata": {"HTTPStatusCode": status}}, "X")


def test_a_job_that_trains_is_followed(watch, running, storage, sweep):
    storage.put(f"{running.training.run_key}/progress.json", b'{"step": 3}')
    assert watch.look(running.job) == GOES_ON
    assert running.follower.polls == 1
    assert json.loads((running.job.directory / "progress.json").read_text()) == {"step": 3}
    assert sweep.state_on_disk().remote["note"] == "Training"


def test_a_finished_job_is_collected_with_its_cost(watch, running, storage, sweep):
    put_output(storage, running, status="finished", metric=0.75)
    watch.described = COMPLETED
    assert watch.look(running.job) == OVER
    job = sweep.state_on_disk()
    assert (job.state, job.value, job.error) == ("finished", 0.75, None)
    assert job.remote["cost"] == pytest.approx(1.127)
    assert json.loads((running.job.directory / "result.json").read_text())["cost"] == 1.127
    assert watch.draining == [], "its log is complete"


def test_a_log_that_lags_is_awaited_for_a_while(watch, running, storage):
    running.follower.complete = False
    put_output(storage, running, status="finished", metric=0.75)
    watch.described = COMPLETED
    watch.look(running.job)
    assert watch.draining == [running]
    watch.drain()
    assert watch.draining == [running]
    running.follower.complete = True
    watch.drain()
    assert watch.draining == []


def test_without_capacity_it_is_submitted_again_as_often_as_allowed(watch, running, sweep):
    watch.described = NO_CAPACITY
    assert watch.look(running.job) == (True, "CapacityError: none left")
    assert watch.running == {}
    assert running.job.state == "running", "the queue takes it from here"
    running.job.retire(retry="CapacityError")
    sweep.submitted(running.job, running.training.entry())
    watch.add(running)
    assert watch.look(running.job) == OVER
    assert running.job.state == "failed"
    assert running.job.error.startswith("CapacityError")


@pytest.mark.parametrize(("places", "again"), [(2, True), (1, False)])
def test_without_spot_capacity_it_goes_where_there_may_be_more(watch, running, places, again):
    """At one place waiting any longer helps nobody."""
    waited = {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxWaitTimeExceeded"}
    watch.described = RUNNING | waited
    running.places *= places
    _, reason = watch.look(running.job)
    if again:
        assert reason == "MaxWaitTimeExceeded: no spot capacity within launcher.max_wait"
    else:
        assert reason is None
        assert running.job.state == "killed"
        assert "launcher.max_wait" in running.job.error


def test_after_ctrl_c_nothing_is_submitted_again(watch, running):
    watch.described, watch.interrupts.count = NO_CAPACITY, 1
    assert watch.look(running.job) == OVER
    assert running.job.state == "failed"


def test_a_job_that_is_gone_has_failed(watch, running):
    watch.described = None
    assert watch.look(running.job) == OVER
    assert running.job.error == "the training job job no longer exists"


def test_each_job_is_asked_for_in_its_own_region(
    sweep, two_regions, submission, training, monkeypatch
):
    monkeypatch.setattr(watch_module, "LogFollower", Lines)
    monkeypatch.setattr(watch_module, "_next", lambda submission: 0.0)
    watch, asked = Watch(sweep, two_regions, Interrupts()), []
    for index, region in enumerate(two_regions.names):
        one = submission(index)
        one.training = training(name=f"job-{index}", region=region, bucket=f"bucket-{region}")
        service = two_regions.service(region)
        monkeypatch.setattr(
            service, "describe", lambda name, region=region: asked.append((region, name)) or RUNNING
        )
        watch.add(one)
        watch.look(one.job)
    assert asked == [("us-east-1", "job-0"), ("eu-west-1", "job-1")]


def test_a_busy_service_is_asked_again(watch, running):
    watch.described = error("ThrottlingException")
    for _ in range(20):
        assert watch.look(running.job) == GOES_ON


def test_a_job_that_may_not_be_watched_goes_on_and_is_named(watch, running, sweep):
    watch.described = error("AccessDeniedException")
    seen = [watch.look(running.job) for _ in range(5)]
    assert seen == [GOES_ON] * 4 + [OVER]
    assert running.job.state == "running"
    assert "--training-job-name job" in sweep.said[-1]


def test_files_that_cannot_be_fetched_end_in_a_failure(watch, running, storage, monkeypatch):
    def gone(**_):
        raise error("NoSuchBucket", 404)

    monkeypatch.setattr(storage, "extract", lambda *_: gone())
    watch.described = COMPLETED
    seen = [watch.look(running.job) for _ in range(5)]
    assert seen == [GOES_ON] * 4 + [OVER]
    assert running.job.state == "failed"
    assert "Completed, but its files could not be fetched: NoSuchBucket" in running.job.error


def test_a_log_that_may_not_be_read_loses_no_job(watch, running, sweep, monkeypatch):
    def denied():
        raise error("AccessDeniedException")

    monkeypatch.setattr(running.follower, "poll", denied)
    for _ in range(2):
        assert watch.look(running.job) == GOES_ON
    assert len([line for line in sweep.said if "the log of #0 cannot be read" in line]) == 1


def test_stopping_names_what_does_not_stop(watch, running, sweep, service, monkeypatch):
    stopped = []
    monkeypatch.setattr(service, "stop", stopped.append)
    watch.stop_all()
    assert stopped == ["job"]
    assert running.due == 0.0
    monkeypatch.setattr(service, "stop", lambda name: (_ for _ in ()).throw(error("X")))
    watch.stop_all()
    assert "#0 could not be stopped: X: text; stop it with: aws sagemaker" in sweep.said[-1]


def test_an_earlier_controllers_job_is_found_by_its_record(watch, running, submission):
    again = submission(1)
    again.job.remote = running.training.entry()
    watch.add(again)
    assert again.training == running.training
    watch.name_running("they go on")
    assert len(watch.sweep.said[-1].splitlines()) == 3


def test_warm_instances_are_given_back(watch, running, storage, sweep, service, monkeypatch):
    put_output(storage, running, status="finished", metric=0.75)
    released = []
    monkeypatch.setattr(service, "release", released.append)
    kept = {"WarmPoolStatus": {"Status": "Available"}, "TrainingEndTime": START}
    watch.described = COMPLETED | kept
    service._ahead = START.timestamp() + 3600 - time.time()
    running.training.pool = True
    watch.look(running.job)
    watch.give_back()
    watch.give_back()
    assert released == ["job"], "once"
    assert sweep.state_on_disk().remote["cost"] == pytest.approx(2 * 1.127, abs=0.01)
    result = json.loads((running.job.directory / "result.json").read_text())
    assert result["cost"] == sweep.state_on_disk().remote["cost"]


def test_instances_that_an_earlier_controller_left_warm_are_given_back(
    watch, submission, training, sweep, service, monkeypatch
):
    """Also that of an attempt which another has followed; both have gone on to cost."""
    released, job = [], submission().job
    monkeypatch.setattr(service, "release", released.append)
    job.state, job.spent = State.finished, 0.5
    job.attempts = [training(name="first", pool=True, cost=0.5).entry()]
    job.remote = training(name="second", pool=True, cost=1.0).entry()
    sweep.record.jobs.append(job)
    watch.described = COMPLETED | {"WarmPoolStatus": {"Status": "Available"}}
    for _ in range(2):
        watch.give_back()
    assert released == ["first", "second"], "once"
    saved = sweep.state_on_disk()
    assert (saved.spent, saved.remote["cost"]) == (pytest.approx(1.127), 1.127)


def test_a_warm_instance_that_cannot_be_given_back_is_named(watch, running, storage, sweep):
    put_output(storage, running, status="finished", metric=0.75)
    watch.described = COMPLETED
    running.training.pool = True
    watch.look(running.job)
    watch.described = error("AccessDeniedException")
    watch.give_back()
    assert "could not be given back and is billed until" in sweep.said[-1]


def test_a_job_that_failed_without_a_result_has_a_cost(watch, running, sweep):
    watch.described = COMPLETED | {
        "TrainingJobStatus": "Failed",
        "SecondaryStatus": "Failed",
        "FailureReason": "AlgorithmError",
    }
    running.job.spent = 0.5
    watch.look(running.job)
    result = json.loads((running.job.directory / "result.json").read_text())
    assert result["cost"] == pytest.approx(0.5 + 1.127)


def test_expired_credentials_are_waited_for(watch, running, sweep, regions, monkeypatch):
    """Somebody logs in again, and it goes on."""
    asked = []
    monkeypatch.setattr(regions, "reconnect", lambda: asked.append(1))
    watch.described = error("ExpiredTokenException")
    for _ in range(20):
        assert watch.look(running.job) == GOES_ON
    assert len(asked) == 20
    assert len([line for line in sweep.said if "waiting for SageMaker" in line]) == 1
    watch.described = RUNNING
    watch.look(running.job)
    assert running.unseen_since is None


@pytest.mark.parametrize("code", ["ExpiredTokenException", "SlowDown", "ThrottlingException"])
def test_waiting_for_an_answer_has_an_end(watch, running, sweep, monkeypatch, code):
    watch.described = error(code)
    watch.look(running.job)
    running.unseen_since -= watch_module.PATIENCE
    assert watch.look(running.job) == OVER
    assert running.job.is_remote(), "a resumed sweep finds it"
    assert "--training-job-name job" in sweep.said[-1]


def test_files_of_a_busy_store_are_left_for_a_resumed_sweep(
    watch, running, storage, sweep, monkeypatch
):
    """As failed, the whole job would run again."""

    def busy(*_):
        raise error("SlowDown", 503)

    monkeypatch.setattr(storage, "extract", busy)
    watch.described = COMPLETED
    for _ in range(20):
        assert watch.look(running.job) == GOES_ON
    running.unseen_since = time.monotonic() - watch_module.PATIENCE
    watch.look(running.job)
    assert running.job.is_remote()
    assert "can no longer be watched" in sweep.said[-1]


def test_a_job_that_did_not_hear_is_told_again_to_stop(watch, running, sweep, service, monkeypatch):
    told = []

    def stop(name):
        told.append(name)
        if len(told) == 1:
            raise error("ThrottlingException")

    monkeypatch.setattr(service, "stop", stop)
    watch.stop_all()
    watch.look(running.job)
    assert told == ["job", "job"]
    assert not watch.stops_too_long()
    watch._stopping_since -= watch_module.LONGEST_STOP + 1
    assert watch.look(running.job) == OVER
    assert "told to stop long ago" in sweep.said[-1]
    assert running.job.is_remote(), "a resumed sweep finds it"


@pytest.mark.parametrize("tracked", [True, False])
def test_metrics_go_into_mlflow_where_the_job_could_not_write(
    watch, running, storage, sweep, monkeypatch, tracked
):
    imported = []
    monkeypatch.setattr(mlflow_import, "import_run", lambda *found: imported.append(found))
    monkeypatch.setattr(tracking, "end_run", lambda *_: None)
    running.training.tracked, running.job.run_id = tracked, "r1"
    sweep.record.tracking.uri = "https://mlflow.example.org"
    put_output(storage, running, status="finished", metric=0.75)
    watch.described = COMPLETED
    watch.look(running.job)
    own = ("https://mlflow.example.org", "r1", running.job.directory)
    assert imported == ([] if tracked else [own])
