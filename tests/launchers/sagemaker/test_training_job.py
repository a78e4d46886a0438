import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.launchers.sagemaker.instances import AUTO, has_local_storage
from rlvr.launchers.sagemaker.training_job import (
    TrainingJob,
    job_name,
    sweep_key,
    tag_value,
)
from rlvr.manifest import Job
from rlvr.states import State

SERVICE = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


HASH = "abcdef0123456789"


@given(st.text(max_size=100), st.text(max_size=40), st.integers(0, 9999))
def test_every_name_is_one_the_service_takes(project, sweep, index):
    name = job_name(project, sweep, Job(index, "n", HASH, [], "0"))
    assert SERVICE.fullmatch(f"{name}-9999")


def test_names_say_what_they_are_and_follow_from_the_job():
    """Two controllers give the same attempt the same name, which the service takes once."""
    job = Job(3, "n", HASH, [], "0")
    name = job_name("My_Project.2", "sweep-1", job)
    assert name == f"My-Project-2-{sweep_key('sweep-1')}-003-abcdef"
    assert name == job_name("My_Project.2", "sweep-1", Job(3, "other", HASH, ["a=1"], "dir"))
    others = [
        job_name("My_Project.2", "sweep-2", job),
        job_name("My_Project.2", "sweep-1", Job(4, "n", HASH, [], "0")),
        job_name("My_Project.2", "sweep-1", Job(3, "n", HASH[::-1], [], "0")),
    ]
    assert len({name, *others}) == 4


@given(st.text(max_size=600))
def test_every_tag_is_one_the_service_takes(text):
    assert re.fullmatch(r"[\w\s_.:/=+\-@]{0,256}", tag_value(text))


@pytest.mark.parametrize(
    ("given_text", "kept"),
    [
        ("shots=4 trainer.lr=1e-5", "shots=4 trainer.lr=1e-5"),
        ("a=[1,2] {x}", "a= 1 2   x"),
        ("role=arn\\:aws", "role=arn:aws"),
    ],
)
def test_tags_keep_what_they_can(given_text, kept):
    assert tag_value(given_text) == kept


def test_state_and_cost_while_it_runs_and_after(training):
    running = training()
    assert (running.state, running.cost) == (State.pending, None)
    start = datetime(2030, 1, 1, tzinfo=UTC)
    described = {
        "TrainingJobStatus": "InProgress",
        "SecondaryStatus": "Training",
        "TrainingStartTime": start,
    }
    running.update(described, start.timestamp() + 3600)
    assert running.cost == pytest.approx(1.127)
    assert (running.note, running.state) == ("Training", State.running)
    described |= {"TrainingJobStatus": "Completed", "BillableTimeInSeconds": 1800}
    running.update(described, start.timestamp() + 9999)
    assert (running.note, running.state) == ("Completed", State.finished)
    assert running.cost == pytest.approx(1.127 / 2, abs=1e-3)
    described |= {"TrainingJobStatus": "Stopped", "SecondaryStatus": "MaxRuntimeExceeded"}
    running.update(described, 0)
    assert (running.note, running.state) == ("MaxRuntimeExceeded", State.killed)


def test_the_remote_entry_survives_the_manifest(training):
    saved = training(git={"commit": "abc"}, most=2.5)
    job = Job(0, "n", "h", [], "0", remote=json.loads(json.dumps(saved.entry())))
    assert TrainingJob.of(job) == saved
    job.remote["from_a_newer_version"] = 1
    assert TrainingJob.of(job) == saved


def test_the_last_attempt_of_a_job_that_waits_for_the_next(training):
    job = Job(0, "n", "h", [], "0")
    assert TrainingJob.last(job) is None
    job.remote = training(name="first", cost=1.5).entry()
    assert TrainingJob.last(job).name == "first"
    job.retire(retry="CapacityError: none left")
    assert (job.state, job.remote, job.spent) == (State.pending, None, 1.5)
    assert job.attempts[0]["retry"] == "CapacityError: none left"
    assert TrainingJob.last(job).name == "first"
    job.remote = training(name="second").entry()
    assert TrainingJob.last(job).name == "second"
    assert [attempt.name for attempt in TrainingJob.every(job)] == ["first", "second"]
    job.remote = {"job_id": "17"}
    assert TrainingJob.last(job) is None, "of another launcher"


@pytest.mark.parametrize(
    ("trainer", "gpus"),
    [
        ({}, 1),
        ({"distributed": "auto", "num_processes": None}, 1),
        ({"num_processes": 3}, 4),
        ({"distributed": "zero3"}, 8),
        ({"distributed": "ddp", "num_processes": 2}, 4),
        ({"num_processes": 64}, 8),
    ],
)
def test_auto_pays_for_the_gpus_a_run_uses(submission, trainer, gpus):
    (place,) = submission(config={"trainer": trainer}).places
    assert place.instance_type == dict(AUTO)[gpus]


def lacked(one, **remote):
    """An attempt that SageMaker could not run."""
    one.job.remote = {"training_seconds": None, "cost": None, **remote}
    one.job.retire(retry="CapacityError")


def test_places_are_tried_in_order_and_again_from_the_first(submission):
    types = ["ml.b.large", "ml.c.large"]
    one = submission(instance_type="ml.a.large", fallback_instance_types=types, retries=4)
    seen = []
    while True:
        seen.append(one.places[one.turn].instance_type)
        if not one.may_be_retried:
            break
        lacked(one)
    assert seen == ["ml.a.large", "ml.b.large", "ml.c.large", "ml.a.large", "ml.b.large"]


def test_each_place_is_tried_once_at_least(submission):
    one = submission(fallback_instance_types=["ml.b.large", "ml.c.large"], retries=0)
    lacked(one)
    assert one.may_be_retried
    lacked(one)
    assert not one.may_be_retried


def test_who_resumes_a_sweep_begins_at_the_first_place_again(submission):
    one = submission(fallback_instance_types=["ml.b.large"], retries=1)
    lacked(one, training_seconds=100)
    assert (one.turn, one.may_be_retried, one.seconds_left) == (1, False, 17_900)
    one.job.remote = {"training_seconds": 50, "cost": None}
    one.job.retire()  # it ran, and failed by itself
    assert (one.turn, one.may_be_retried, one.seconds_left) == (0, True, 18_000)


def test_the_highest_cost_holds_whatever_goes_wrong(submission):
    """The dearest instance, the seconds of stopping, the disks, the warm pool."""
    one = submission(instance_type="ml.g6.xlarge", instance_count=2, max_runtime=1800 - 120)
    assert one.highest_cost == pytest.approx(1.127, abs=1e-3)
    warm = submission(1, instance_type="ml.g6.xlarge", max_runtime=1800 - 120, warm_pool=1800)
    assert warm.highest_cost == pytest.approx(1.127, abs=1e-3)
    dear = submission(
        2,
        instance_type="ml.g6.xlarge",
        fallback_instance_types=["ml.p5.48xlarge"],
        max_runtime=3600 - 120,
    )
    assert dear.highest_cost == pytest.approx(63.3)
    disk = submission(3, instance_type="ml.m5.xlarge", volume_gb=730, max_runtime=3600 - 120)
    assert disk.highest_cost == pytest.approx(0.23 + 0.14)
    assert submission(4, instance_type="ml.unheard.of").highest_cost is None


def test_retries_share_the_time_limit(submission):
    one = submission(instance_type="ml.g6.xlarge", max_runtime=3600)
    whole = one.highest_cost
    lacked(one, training_seconds=1800)
    assert one.seconds_left == 1800
    assert one.highest_cost == pytest.approx(whole - 1.127 / 2, abs=1e-3)


def test_a_slow_clock_pays_nobody_back(training):
    start = datetime(2030, 1, 1, tzinfo=UTC)
    running = training()
    described = {"TrainingJobStatus": "InProgress", "SecondaryStatus": "Training"}
    running.update(described | {"TrainingStartTime": start}, start.timestamp() - 600)
    assert running.cost == 0


def test_disks_are_no_cheaper_on_spot(training):
    ended = training(spot=True, hourly=2.0, hourly_disks=0.5)
    described = {"TrainingJobStatus": "Completed", "SecondaryStatus": "Completed"}
    times = {"TrainingTimeInSeconds": 7200, "BillableTimeInSeconds": 1800}
    ended.update({**described, **times}, 0)
    assert ended.cost == pytest.approx(2.0 * 0.5 + 0.5 * 2)


def test_a_kept_instance_costs_on(training):
    end = datetime(2030, 1, 1, tzinfo=UTC)
    ended = training()
    described = {
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "TrainingStartTime": end,
        "TrainingEndTime": end,
        "BillableTimeInSeconds": 1800,
        "WarmPoolStatus": {"Status": "Available"},
    }
    ended.update(described, end.timestamp() + 1800)
    assert ended.kept_warm
    assert ended.cost == pytest.approx(1.127)
    pool = {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 5400}
    ended.update(described | {"WarmPoolStatus": pool}, end.timestamp() + 99999)
    assert not ended.kept_warm
    assert ended.cost == pytest.approx(2 * 1.127)


@pytest.mark.parametrize(
    ("kind", "local"),
    [
        ("ml.g6.2xlarge", True),
        ("ml.g5.xlarge", True),
        ("ml.g6e.48xlarge", True),
        ("ml.g4dn.xlarge", True),
        ("ml.p4d.24xlarge", True),
        ("ml.p4de.24xlarge", True),
        ("ml.p5.48xlarge", True),
        ("ml.p3dn.24xlarge", True),
        ("ml.m5d.large", True),
        ("ml.r5d.large", True),
        ("ml.trn1.32xlarge", True),
        ("ml.m5.large", False),
        ("ml.c5.xlarge", False),
        ("ml.c5n.xlarge", False),
        ("ml.p3.2xlarge", False),
        ("ml.p2.xlarge", False),
        ("ml.g3.4xlarge", False),
    ],
)
def test_which_instances_have_disks_of_their_own(kind, local):
    assert has_local_storage(kind) is local
