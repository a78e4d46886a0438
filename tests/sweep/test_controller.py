"""The controller with real Hydra and a runner without processes; tests/launchers has the rest."""

import json
import os

import pytest
from hydra.core.utils import JobStatus

from rlvr.errors import UserError
from rlvr.manifest import Manifest, load
from rlvr.result import Result
from rlvr.states import State
from rlvr.sweep.controller import importable_paths


def test_every_job_is_recorded_before_the_first_runs(make_sweep, capsys):
    sweep = make_sweep()
    returns = sweep.launch([["value=0.1"], ["value=0.3"]], 0)
    assert [returned.return_value for returned in returns] == [0.1, 0.3]
    assert sweep.runner.ran == [(0, "running pending"), (1, "finished running")]
    record = load(sweep.directory)
    assert [(job.name, job.state, job.value) for job in record.jobs] == [
        ("value=0.1", "finished", 0.1),
        ("value=0.3", "finished", 0.3),
    ]
    assert record.command == ["python", "train.py", "-m"]
    output = capsys.readouterr().out
    assert "Sweep of 2 jobs in" in output
    assert "To run what is missing" not in output


def test_a_failed_job_keeps_its_place_and_stops_nobody(make_sweep, capsys):
    sweep = make_sweep()
    returns = sweep.launch([["do=fail"], ["do=ok"]], 0)
    assert [returned.status for returned in returns] == [JobStatus.FAILED, JobStatus.COMPLETED]
    with pytest.raises(UserError, match=r"1 of 2 jobs did not finish \(#0\)") as raised:
        _ = returns[0].return_value
    assert raised.value.details == "told to fail"
    left = json.loads((sweep.directory / "0" / "result.json").read_text())
    assert (left["status"], left["error"], left["overrides"]) == (
        "failed",
        "told to fail",
        ["do=fail"],
    )
    output = capsys.readouterr().out
    assert "1 finished, 1 failed. To run what is missing:" in output
    assert "launcher.resume=" in output


def test_after_ctrl_c_the_rest_is_pending(make_sweep, capsys):
    sweep = make_sweep()
    sweep.runner.stop_after = 1
    with pytest.raises(KeyboardInterrupt):
        sweep.launch([["do=ok"], ["do=ok"]], 0)
    assert [job.state for job in load(sweep.directory).jobs] == ["finished", "pending"]
    assert "1 not started, 1 finished. To run what is missing:" in capsys.readouterr().out


def test_the_record_is_written_before_mlflow_is_asked(make_sweep, monkeypatch):
    """A store that hangs or refuses leaves a sweep that can be resumed."""

    def refuse(record, node):
        assert [job.state for job in load(sweep.directory).jobs] == ["pending"]
        raise UserError("tracking.uri: no")

    monkeypatch.setattr("rlvr.tracking.create_runs", refuse)
    sweep = make_sweep()
    with pytest.raises(UserError, match=r"tracking\.uri"):
        sweep.launch([["do=ok"]], 0)
    assert sweep.runner.ran == []


def test_every_run_is_ended_as_its_job_was(make_sweep, monkeypatch):
    ended = []

    def create(record, node):
        record.tracking.uri, record.tracking.parent_run_id = "http://store", "parent"
        for job in record.jobs:
            job.run_id = f"run {job.index}"

    monkeypatch.setattr("rlvr.tracking.create_runs", create)
    monkeypatch.setattr("rlvr.tracking.end_run", lambda uri, run, state: ended.append((run, state)))
    monkeypatch.setattr("rlvr.compare.compare.report", lambda _: None)
    sweep = make_sweep()
    sweep.runner.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        sweep.launch([["do=ok"], ["do=fail"], ["do=ok"]], 0)
    assert ended == [
        ("run 0", "finished"),
        ("run 1", "failed"),
        ("run 2", "killed"),
        ("parent", "failed"),
    ]


def test_a_resumed_job_keeps_its_run_in_mlflow(make_sweep, mlflow_uri):
    from mlflow import MlflowClient

    tracked = ["tracking.name=mlflow", f"tracking.uri={mlflow_uri}"]
    first = make_sweep()
    first.runner.stop_after = 1
    with pytest.raises(KeyboardInterrupt):
        first.launch([["value=0.1", *tracked], ["value=0.2", *tracked]], 0)
    client = MlflowClient(mlflow_uri)
    before = load(first.directory)
    status = lambda run_id: client.get_run(run_id).info.status  # noqa: E731
    assert [status(job.run_id) for job in before.jobs] == ["FINISHED", "KILLED"]
    assert status(before.tracking.parent_run_id) == "KILLED"

    resume = "launcher.resume=last"
    make_sweep().launch([["value=0.1", *tracked, resume], ["value=0.2", *tracked, resume]], 0)
    after = load(first.directory)
    assert [job.run_id for job in after.jobs] == [job.run_id for job in before.jobs]
    assert after.tracking == before.tracking
    assert status(after.tracking.parent_run_id) == "FINISHED"


def test_batches_share_one_record(make_sweep):
    sweep = make_sweep()
    sweep.launch([["shots=0"], ["shots=1"]], 0)
    sweep.launch([["shots=2"]], 2)
    assert [job.index for job in load(sweep.directory).jobs] == [0, 1, 2]


def test_resume_moves_to_the_earlier_directory(make_sweep):
    first = make_sweep()
    first.launch([["value=0.1"], ["do=fail"]], 0)
    again = make_sweep(name="second")
    again.directory.mkdir()
    (again.directory / "multirun.yaml").touch()
    resume = "launcher.resume=last"  # the sweeper hands on what is not swept, too
    returns = again.launch([["value=0.1", resume], ["do=fail", resume]], 0)
    assert again.directory == first.directory
    assert not (first.directory.parent / "second").exists(), "Hydra's empty directory is gone"
    assert [index for index, _ in again.runner.ran] == [1], "the finished job is kept"
    assert returns[0].return_value == 0.1
    assert str(again.master.hydra.sweep.dir) == str(first.directory)


def ran_again(sweep, *names: str, also: tuple[str, ...] = ()) -> list[int]:
    """Which jobs run where those of these names are asked for."""
    sweep.launch([[name, "launcher.resume=last", *also] for name in names], 0)
    return [index for index, _ in sweep.runner.ran]


def test_jobs_that_the_sweep_does_not_have_are_refused_and_nothing_changes(make_sweep):
    make_sweep("shots=0,1").launch([["shots=0", "do=fail"], ["shots=1"]], 0)
    again = make_sweep("shots=1,7", name="second")
    before = (again.directory.parent / "first/sweep.json").read_text()
    with pytest.raises(UserError, match=r"does not have 1 of the jobs .*: shots=7\. .*extend=true"):
        ran_again(again, "shots=1", "shots=7")
    assert (again.directory / "sweep.json").read_text() == before
    assert again.runner.ran == []


def test_a_part_of_the_sweep_may_be_asked_for_in_any_form(make_sweep):
    make_sweep("shots=0,1").launch([["shots=0", "do=fail"], ["shots=1", "do=fail"]], 0)
    again = make_sweep("do=fail", "shots=1", name="second")
    again.launch([["do=fail", "shots=1", "value=0.5", "launcher.resume=last"]], 0)
    assert [index for index, _ in again.runner.ran] == [1], "value is 0.5 anyway"


def test_an_extended_sweep_goes_on_with_all_its_jobs(make_sweep):
    make_sweep("shots=0,1").launch([["shots=0"], ["shots=1"]], 0)
    extended = make_sweep("shots=7", name="second")
    also = ("do=fail", "+launcher.extend=true")
    assert ran_again(extended, "shots=7", also=also) == [2]
    own = make_sweep("shots=0,1", name="third")
    assert ran_again(own, "shots=0", "shots=1") == [2]
    assert [job.index for job in load(own.directory).jobs] == [0, 1, 2]


def test_a_sweep_that_plans_in_batches_goes_on_with_what_it_had_not_planned(make_sweep):
    batches = "hydra.sweeper.max_batch_size=1"
    make_sweep("shots=0,1", batches).launch([["shots=0"]], 0)
    again = make_sweep("shots=0,1", batches, name="second")
    assert ran_again(again, "shots=0") == []
    again.launch([["shots=1", "launcher.resume=last"]], 1)
    assert [index for index, _ in again.runner.ran] == [1]
    with pytest.raises(UserError, match="does not have 1 of the jobs"):
        ran_again(make_sweep("shots=9", batches, name="third"), "shots=9")


def test_a_second_sweep_does_not_overwrite_the_first(make_sweep):
    make_sweep().launch([["shots=0"]], 0)
    with pytest.raises(UserError, match="holds a sweep already: go on with it by"):
        make_sweep().launch([["shots=0"]], 0)


def test_jobs_on_another_launcher_are_not_left_behind(make_sweep):
    first = make_sweep()
    first.launch([["do=fail"]], 0)
    record = load(first.directory)
    record.launcher, record.jobs[0].state = "slurm", State.running
    record.jobs[0].remote = {"job_id": "1"}
    record.save(first.directory)
    with pytest.raises(UserError, match=r"running on slurm: resume it with launcher=slurm"):
        make_sweep().launch([["do=fail", "launcher.resume=last"]], 0)


def test_settings_of_another_launcher_are_named(make_sweep):
    with pytest.raises(UserError, match=r"launcher\.spot is not a setting of the local launcher"):
        make_sweep().launch([["+launcher.spot=true"]], 0)


def test_a_job_knows_its_run_and_what_this_process_can_import(make_sweep):
    sweep = make_sweep("+hydra.job.env_set.MARK=7")
    (job,) = sweep.compose([["shots=1"]], 0)
    job.run_id = "r1"
    sweep._record = Manifest("1", "n", "now", "local", [], "value", jobs=[job])
    environment = sweep.environment(job)
    assert environment["RLVR_RUN_NAME"] == "shots=1"
    assert (environment["MARK"], environment["RLVR_RUN_ID"]) == ("7", "r1")
    assert os.getcwd() in importable_paths().split(os.pathsep)
    assert not any("site-packages" in path for path in importable_paths().split(os.pathsep))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("compare.report", "no comparison could be made: rlvr compare"),
        ("page.report", "no report could be made: rlvr report"),
    ],
)
def test_a_comparison_or_report_that_fails_hides_no_result(
    make_sweep, monkeypatch, caplog, function, message
):
    monkeypatch.setattr(f"rlvr.compare.{function}", lambda _: 1 / 0)
    (returned,) = make_sweep().launch([["value=0.2"]], 0)
    assert returned.return_value == 0.2
    assert message in caplog.text


def test_a_sweep_ends_with_its_comparison_and_report(make_sweep, capsys):
    sweep = make_sweep()
    sweep.launch([["value=0.2"]], 0)
    assert (sweep.directory / "comparison.json").is_file()
    assert (sweep.directory / "report.html").is_file()
    assert f"report: {sweep.directory / 'report.html'}" in capsys.readouterr().out


def test_what_a_job_left_itself_is_not_overwritten(make_sweep):
    sweep = make_sweep()
    sweep.launch([["do=ok"]], 0)
    (job,) = sweep.record.jobs
    sweep.ended(job, Result(State.killed, error="from outside"))
    assert json.loads((job.directory / "result.json").read_text())["status"] == "finished"
    assert load(sweep.directory).jobs[0].state == "killed"
