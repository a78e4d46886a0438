"""What is deleted of a sweep that ran in two regions; test_commands.py has the rest."""

import pytest

from rlvr.cli import main
from rlvr.launchers.sagemaker import commands
from rlvr.manifest import Job, Manifest
from rlvr.paths import output_dir
from rlvr.states import State

FOLDER = "rlvr/sweeps/1"


@pytest.fixture
def two_jobs(two_regions, training, monkeypatch):
    """The first went from us-east-1 to eu-west-1; the keys that are left, by region."""
    commands.service_in.cache_clear()
    monkeypatch.setattr(commands, "_refresh", lambda training: False)  # AWS has forgotten them
    home, there = (two_regions.storage(name) for name in two_regions.names)
    for key in ("requests.json", "000-a/checkpoints/x", "001-b/output/x"):
        home.put(f"{FOLDER}/{key}", b"x")
    there.put(f"{FOLDER}/000-a/output/x", b"x")
    for storage in (home, there):
        storage.put("rlvr/code/digest/code.tar.gz", b"x")

    def remote(region, folder):
        place = {"region": region, "bucket": f"bucket-{region}"}
        return training(**place, job_key=f"{FOLDER}/{folder}", status="Completed").entry()

    jobs = [Job(i, f"shots={i}", "h", [], str(i), State.finished) for i in (0, 1)]
    jobs[0].attempts = [{**remote("us-east-1", "000-a"), "retry": "CapacityError"}]
    jobs[0].remote, jobs[1].remote = remote("eu-west-1", "000-a"), remote("us-east-1", "001-b")
    directory = output_dir() / "sweeps/1"
    directory.mkdir(parents=True)
    record = Manifest("1", "1", "2025", "sagemaker", ["python", "train.py"], "m", jobs=jobs)
    record.save(directory)
    return lambda: [
        [key.removeprefix("rlvr/") for key, _ in storage.walk("")] for storage in (home, there)
    ]


def test_a_whole_sweep_goes_from_every_region(two_jobs, capsys):
    assert main(["jobs", "cleanup", "1", "-y"]) == 0
    assert two_jobs() == [["code/digest/code.tar.gz"]] * 2, "which may serve other sweeps"
    shown = capsys.readouterr().out
    assert f"s3://bucket-us-east-1/{FOLDER}/: 3 objects" in shown
    assert f"s3://bucket-eu-west-1/{FOLDER}/: 1 objects" in shown
    assert "deleted 4 objects" in shown


def test_one_job_goes_with_all_its_attempts(two_jobs):
    assert main(["jobs", "cleanup", "1", "-y", "--job", "0"]) == 0
    code = "code/digest/code.tar.gz"
    assert two_jobs() == [[code, "sweeps/1/001-b/output/x", "sweeps/1/requests.json"], [code]]
