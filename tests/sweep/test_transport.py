"""Jobs on their way to another process and back, for train.py's own task and for any other."""

import json

import pytest
from hydra.core.utils import JobStatus
from omegaconf import OmegaConf

from rlvr.manifest import NOT_COMPOSED
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep import compose
from rlvr.sweep.transport import PickledTask, ResolvedConfig


@pytest.fixture
def placed(make_sweep):
    """A job in its directory, and its sweep."""

    def make(*overrides, **options):
        sweep = make_sweep(**options)
        (job,) = sweep.compose([list(overrides)], 0)
        compose.place(job, sweep.directory)
        job.directory.mkdir(parents=True)
        return job, sweep.transport

    return make


def test_the_worker_gets_plain_values_and_no_stale_result(placed):
    job, transport = placed("shots=3")
    assert isinstance(transport, ResolvedConfig)
    for stale in ("result.json", "progress.json"):
        (job.directory / stale).write_text("{}")
    transport.write(job)
    config = OmegaConf.to_container(OmegaConf.load(job.directory / "config.yaml"), resolve=False)
    assert (config["shots"], config["doubled"]) == (3, "3 and 3")
    assert "hydra" not in config
    assert sorted(path.name for path in job.directory.iterdir()) == [
        "config.yaml",
        "overrides.yaml",
    ]
    assert transport.command(job.directory)[1:3] == ["-m", "fake_worker"]
    assert transport.log(job, "train").name == "app.log", "as Hydra names it"
    job.config = NOT_COMPOSED
    assert transport.log(job, "train").name == "train.log"


def test_the_hash_is_of_the_config_not_of_the_place(placed):
    job, transport = placed("shots=3")
    digest = transport.hash(job)
    compose.place(job, job.directory.parent / "elsewhere")
    assert transport.hash(job) == digest
    other, _ = placed("shots=4", name="second")
    assert transport.hash(other) != digest


def test_a_result_comes_back_and_one_that_is_broken_is_a_failure(placed):
    job, transport = placed()
    assert transport.result(job.directory) is None
    transport.write_result(job.directory, Result(State.finished, 0.25))
    found = transport.result(job.directory)
    assert (found.status, found.metric) == (State.finished, 0.25)
    returned = transport.job_return(job, found)
    assert (returned.return_value, returned.status) == (0.25, JobStatus.COMPLETED)
    (job.directory / "result.json").write_text(json.dumps({"status": "odd"}))
    assert transport.result(job.directory).status is State.failed


def test_hydra_gets_what_its_own_launcher_would_give(placed):
    job, transport = placed("shots=3")
    returned = transport.job_return(job, Result(State.failed))
    assert returned.status is JobStatus.FAILED
    assert list(returned.overrides) == ["shots=3"]
    assert returned.cfg.shots == 3
    assert "hydra" not in returned.cfg
    assert returned.hydra_cfg.hydra.job.num == 0
    assert returned.working_dir == str(job.directory)


def test_any_other_task_function_is_pickled(placed):
    job, transport = placed(task_function=lambda cfg: cfg.shots)
    assert isinstance(transport, PickledTask)
    assert transport.result(job.directory) is None
    transport.write(job)
    assert (job.directory / "task.pkl").stat().st_size > 1000
    assert transport.command(job.directory)[2] == "rlvr.sweep.pickled"
    assert transport.job_return(job, Result(State.killed)).status is JobStatus.FAILED
