import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.errors import UserError
from rlvr.manifest import Job, Manifest, Tracking, claim, find, load
from rlvr.processes import start_time
from rlvr.states import State


def manifest(**changes) -> Manifest:
    values = {
        "sweep_id": "1",
        "name": "s",
        "created": "2025-01-01T00:00:00.000+00:00",
        "launcher": "local",
        "command": ["python", "train.py"],
        "metric": "trained/accuracy",
    }
    return Manifest(**{**values, **changes})


def job(**changes) -> Job:
    return Job(
        **{"index": 0, "name": "n", "hash": "h", "overrides": ["a=1"], "dir": "0", **changes}
    )


text = st.text(max_size=20)


@given(
    st.lists(
        st.builds(
            Job,
            index=st.integers(0, 99),
            name=text,
            hash=text,
            overrides=st.lists(text, max_size=3),
            dir=text,
            state=st.sampled_from(State),
            value=st.none() | st.floats(allow_nan=False),
            error=st.none() | text,
            remote=st.none() | st.dictionaries(text, text, max_size=2),
        ),
        max_size=3,
    )
)
def test_what_was_saved_is_loaded(tmp_path_factory, jobs):
    directory = tmp_path_factory.mktemp("sweep")
    saved = manifest(jobs=jobs, tracking=Tracking("sqlite:///x", "1", "p"))
    saved.save(directory)
    assert load(directory) == saved


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "version None"),
        ('{"version": 99}', "version 99, but this rlvr reads version 1"),
        ('{"version": 1}', "is not a sweep manifest: 'created'"),
        ('{"version": 1, "created": 5, "jobs": []}', "created is 5"),
        ('{"version": 1, "created": "2025", "jobs": 5}', "is not a sweep manifest"),
    ],
)
def test_an_unreadable_manifest_is_named(tmp_path, text, message):
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(UserError, match=r"sweep\.json") as error:
        load(tmp_path)
    assert message in str(error.value)


@pytest.mark.parametrize("change", [{"state": "done"}, {"colour": "red"}, {"hash": None}])
def test_a_job_that_is_not_one_is_refused(tmp_path, change):
    manifest(jobs=[job()]).save(tmp_path)
    data = json.loads((tmp_path / "sweep.json").read_text())
    data["jobs"][0].update(change)
    if change == {"hash": None}:
        del data["jobs"][0]["hash"]
    (tmp_path / "sweep.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="is not a sweep manifest"):
        load(tmp_path)


def test_last_is_the_newest_by_its_own_date(tmp_path):
    for name, created in [("b", "2025-01-02"), ("a", "2025-01-03"), ("c", "2025-01-01")]:
        (tmp_path / name).mkdir()
        manifest(created=created).save(tmp_path / name)
    assert find("last", root=tmp_path) == tmp_path / "a"
    assert find(tmp_path / "c") == tmp_path / "c"
    assert find("c", root=tmp_path) == tmp_path / "c"
    with pytest.raises(UserError, match=r"is no sweep \(no sweep\.json\)"):
        find(tmp_path)
    with pytest.raises(UserError, match="no sweep in"):
        find("last", root=tmp_path / "a")


@pytest.mark.parametrize("foreign", ["{", '{"version": 2}', '{"created": 5, "version": 1}'])
def test_last_passes_over_what_it_cannot_read_and_says_so(tmp_path, caplog, foreign):
    for name in ("ours", "foreign"):
        (tmp_path / name).mkdir()
    manifest().save(tmp_path / "ours")
    (tmp_path / "foreign/sweep.json").write_text(foreign)
    assert find("last", root=tmp_path) == tmp_path / "ours"
    (line,) = caplog.messages
    assert line.startswith(f"skipped: {tmp_path / 'foreign/sweep.json'}")
    with pytest.raises(UserError, match="foreign"):
        find("foreign", root=tmp_path)


def test_running_without_its_process_is_lost():
    own = {"state": State.running, "pid": os.getpid()}
    assert job(**own, pid_started=start_time(os.getpid())).true_state() is State.running
    assert job(**own, pid_started=1).true_state() is State.lost, "another process with its pid"
    assert job(state=State.running, pid=None).true_state() is State.lost
    assert job(state=State.running, remote={"job_id": "1"}).true_state() is State.running
    assert job(state=State.failed, pid=1).true_state() is State.failed


def test_a_sweep_has_one_controller(tmp_path):
    code = "import sys, pathlib as p, rlvr.manifest as m\nwith m.claim(p.Path(sys.argv[1])): 1"
    command = [sys.executable, "-c", code, str(tmp_path)]
    with claim(tmp_path):
        other = subprocess.run(command, capture_output=True, text=True)
        assert f"is being run by process {os.getpid()}" in other.stderr
    assert subprocess.run(command).returncode == 0
