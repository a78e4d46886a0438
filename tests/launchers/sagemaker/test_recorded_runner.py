"""The loop of a sweep whose requests are made, with a service that is told what becomes of jobs."""

import io
from collections import Counter
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from rlvr.launchers.sagemaker import watch as watch_module
from rlvr.launchers.sagemaker.request import RequestBuilder
from rlvr.launchers.sagemaker.runner import RecordedRunner
from rlvr.sweep.interrupts import Interrupts


class Lines:
    """A log follower without a log service."""

    complete = True

    def __init__(self, service, job, file):
        pass

    def poll(self):
        return 0


START = datetime(2030, 1, 1, tzinfo=UTC)
RUNS = {
    "TrainingJobStatus": "InProgress",
    "SecondaryStatus": "Training",
    "TrainingStartTime": START,
}
ENDS = {
    **{"TrainingJobStatus": "Failed", "SecondaryStatus": "Failed", "FailureReason": "its own"},
    **{"TrainingStartTime": START, "TrainingEndTime": START, "BillableTimeInSeconds": 3600},
}
STOPPED = {**ENDS, "TrainingJobStatus": "Stopped", "SecondaryStatus": "Stopped"}
WARM = {**ENDS, "WarmPoolStatus": {"Status": "Available"}}
NO_CAPACITY = {**ENDS, "FailureReason": "CapacityError: none left", "BillableTimeInSeconds": 0}


def refusal(code, message="text"):
    answer = {"Error": {"Code": code, "Message": message}}
    return ClientError({**answer, "ResponseMetadata": {"HTTPStatusCode": 400}}, "X")


class Cloud:
    """The service: its jobs, by index and attempt as `0.1`, run for two looks and then end.

    `ends` says how, where it is not by `ENDS`; `did` is what has happened.
    """

    quota = 99

    def __init__(self, service, monkeypatch):
        self.looks, self.ends, self.did = Counter(), {}, []
        client = service.sagemaker
        monkeypatch.setattr(client, "create_training_job", self.create)
        monkeypatch.setattr(service, "describe", self.describe)
        monkeypatch.setattr(service, "stop", self.stop)
        monkeypatch.setattr(service, "release", self.release)

    @staticmethod
    def label(name):
        *_, index, _, attempt = name.split("-")
        return f"{int(index)}.{attempt}"

    def create(self, **request):
        label = self.label(request["TrainingJobName"])
        if label in self.looks:
            raise refusal("ResourceInUse", "names must be unique")
        if sum(looks < 2 for looks in self.looks.values()) >= self.quota:
            raise refusal("ResourceLimitExceeded", "limit is 1 Instances, utilization of 1")
        self.looks[label] = 0
        self.did.append(f"create {label}")

    def describe(self, name):
        label = self.label(name)
        if label not in self.looks:
            return None
        self.looks[label] += 1
        if self.looks[label] < 2:
            return RUNS
        if self.looks[label] == 2:
            self.did.append(f"end {label}")
        return self.ends.get(label, ENDS)

    def stop(self, name):
        self.did.append(f"stop {self.label(name)}")
        self.ends[self.label(name)] = STOPPED

    def release(self, name):
        self.did.append(f"release {self.label(name)}")


@pytest.fixture
def cloud(regions, monkeypatch):
    monkeypatch.setattr(watch_module, "LogFollower", Lines)
    monkeypatch.setattr(watch_module, "_next", lambda submission: 0.0)
    return Cloud(regions.service("us-east-1"), monkeypatch)


@pytest.fixture
def runner(cloud, regions, submission, sweep):
    """`runner.go(3, n_jobs=1)` runs three jobs with these settings; `happens` in each round."""

    class Here(RecordedRunner):
        tick = 0.0

        def __init__(self):
            self.regions, self.submissions = regions, {}
            self.interrupts, self.happens = Interrupts(), lambda: None

        def add(self, number, **settings):
            builder = RequestBuilder(regions, "sweep-1")
            for index in range(number):
                made = submission(index, requirements=None, poll_seconds=0.001, **settings)
                builder.make_ready(made, "rlvr.worker", {})
                self.submissions[index] = made
                sweep.record.jobs.append(made.job)
            sweep.save()

        def go(self, number=0, **settings):
            self.add(number, **settings)
            unended = [job for job in sweep.record.jobs if not job.state.ended]
            self.run(unended, sweep, self.interrupts)
            return cloud.did

        def busy(self):
            self.happens()
            return super().busy()

    return Here()


def test_so_many_run_at_the_same_time(runner):
    assert runner.go(3, n_jobs=1) == [
        *("create 0.1", "end 0.1", "create 1.1", "end 1.1", "create 2.1", "end 2.1")
    ]


def test_a_full_quota_is_waited_out(runner, cloud):
    cloud.quota = 1
    assert runner.go(2) == ["create 0.1", "end 0.1", "create 1.1", "end 1.1"]


def test_without_capacity_it_goes_to_the_next_place(runner, cloud, sweep):
    cloud.ends["0.1"] = NO_CAPACITY
    assert runner.go(1, fallback_instance_types=["ml.c5.xlarge"]) == [
        *("create 0.1", "end 0.1", "create 0.2", "end 0.2")
    ]
    job = sweep.state_on_disk()
    assert (job.state, job.error) == ("failed", "its own")
    assert [attempt["retry"] for attempt in job.attempts] == ["CapacityError: none left"]
    assert job.remote["instance_type"] == "ml.c5.xlarge"


def test_what_was_recorded_and_perhaps_not_made_is_asked_for_by_its_name(runner, cloud, sweep):
    """A controller died between the two; here the request had come through, there not."""
    runner.add(2)
    for made in runner.submissions.values():
        training = made.next.training
        training.name += "-1"
        made.job.remote = training.entry()
        training.name = training.name.removesuffix("-1")
    cloud.create(TrainingJobName=runner.submissions[0].job.remote["name"])
    assert runner.go() == ["create 0.1", "create 1.1", "end 0.1", "end 1.1"]
    assert [job.attempts for job in sweep.record.jobs] == [[], []]


def test_a_limit_gives_warm_instances_back_while_jobs_wait(runner, cloud, sweep):
    """An idle instance costs what the next job could. $6.17 at most for each job."""
    cloud.ends["0.1"] = WARM
    did = runner.go(3, max_cost=13, warm_pool=60)
    assert did.index("release 0.1") < did.index("end 1.1") < did.index("create 2.1")
    assert sweep.state_on_disk(2).state == "failed", "in the end there was enough for it"


def test_an_instance_is_kept_warm_for_the_next_job(runner, cloud):
    cloud.ends = {"0.1": WARM, "1.1": WARM}
    assert runner.go(2, n_jobs=1, warm_pool=60) == [
        *("create 0.1", "end 0.1", "create 1.1", "release 0.1", "end 1.1", "release 1.1")
    ]


def test_a_limit_ends_the_submitting_and_says_so(runner, cloud, sweep):
    assert runner.go(2, n_jobs=1, max_cost=7) == ["create 0.1", "end 0.1"]
    assert sweep.state_on_disk(1).state == "pending", "a resumed sweep runs it"
    (line,) = [line for line in sweep.said if "launcher.max_cost" in line]
    assert line.startswith("launcher.max_cost=7: with $1.22 spent, the next job could pass it")
    assert "#1 shots=1" in line


def test_once_submits_what_the_quota_takes_and_returns(runner, cloud, sweep):
    cloud.quota, runner.once = 1, True
    assert runner.go(3) == ["create 0.1"]
    assert sweep.goes_on
    assert [job.state for job in sweep.record.jobs] == ["running", "pending", "pending"]
    assert f"rlvr jobs watch {sweep.directory}" in sweep.said[-2]
    assert "rlvr jobs watch s3://bucket/rlvr/sweeps/sweep-1" in sweep.said[-2]
    assert "1 jobs run, 2 are still to be submitted" in sweep.said[-2]
    runner.go()
    assert cloud.did == ["create 0.1"], "it runs"
    runner.go()
    assert cloud.did == ["create 0.1", "end 0.1", "create 1.1"]
    runner.once = False
    runner.go()
    assert [job.state for job in sweep.record.jobs] == ["failed"] * 3


def test_who_only_collects_submits_nothing(runner, cloud, sweep):
    """Neither what waits nor what SageMaker could not run; the sweep has not ended by that."""
    cloud.ends["0.1"] = NO_CAPACITY
    cloud.quota, runner.once = 2, True
    runner.go(3)
    runner.only_collects = True
    runner.go()
    runner.go()
    assert cloud.did == ["create 0.1", "create 1.1", "end 0.1", "end 1.1"]
    assert [job.state for job in sweep.record.jobs] == ["pending", "failed", "pending"]
    assert sweep.goes_on
    assert len(sweep.state_on_disk().attempts) == 1


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken", "SlowDown"])
def test_a_bucket_that_does_not_take_the_record_loses_no_job(
    runner, storage, sweep, monkeypatch, caplog, code
):
    def refuse(key, body):
        if key.endswith("sweep.json"):
            raise refusal(code)

    monkeypatch.setattr(storage, "put", refuse)
    assert runner.go(1) == ["create 0.1", "end 0.1"]
    assert sweep.state_on_disk().error == "its own"
    assert "sweep-1 is not up to date" in caplog.text


STOP = "these jobs were told to stop and are not waited for"
DETACHED = "these jobs go on without the launcher"


def interrupt_at(runner, *counts):
    """So many Ctrl-C in the rounds in which the first job runs."""
    left = list(counts)

    def happens():
        if runner.running and left:
            runner.interrupts.count += left.pop(0)

    runner.happens = happens


def test_the_first_ctrl_c_stops_and_waits(runner, sweep):
    interrupt_at(runner, 1)
    assert runner.go(2, n_jobs=1, on_interrupt="stop") == ["create 0.1", "stop 0.1", "end 0.1"]
    assert [job.state for job in sweep.record.jobs] == ["killed", "pending"]


def test_a_second_ctrl_c_leaves_and_names(runner, cloud, sweep, regions, monkeypatch):
    cloud.ends["0.1"] = RUNS  # it takes its time
    monkeypatch.setattr(regions.service("us-east-1"), "stop", lambda name: True)
    interrupt_at(runner, 1, 1)
    runner.go(1, on_interrupt="stop")
    (line,) = [line for line in sweep.said if line.startswith(STOP)]
    assert "aws sagemaker stop-training-job" in line
    assert sweep.state_on_disk().is_remote(), "a resumed sweep finds it"


def test_detaching_leaves_at_once(runner, cloud, sweep):
    interrupt_at(runner, 1)
    assert runner.go(1, on_interrupt="detach") == ["create 0.1"]
    (line,) = [line for line in sweep.said if line.startswith(DETACHED)]
    assert "aws sagemaker stop-training-job" in line
    assert sweep.state_on_disk().is_remote()


def test_without_a_terminal_asking_means_stop(runner, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    interrupt_at(runner, 1)
    assert runner.go(1, on_interrupt="ask") == ["create 0.1", "stop 0.1", "end 0.1"]
