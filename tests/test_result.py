"""`result.json`: truthful, atomic, and readable again."""

import json
import subprocess

import pytest

from rlvr.errors import UserError
from rlvr.interruptions import Terminated
from rlvr.result import Result, code_state, ended, of_exit, read, versions, write_atomic


def test_a_result_is_read_back_as_it_was(tmp_path):
    result = Result(status="finished", metric=0.5, overrides=["shots=4"], base={"n": 3})
    result.write(tmp_path)
    assert read(tmp_path) == result
    assert list(tmp_path.iterdir()) == [tmp_path / "result.json"]


def test_a_run_has_no_result_while_it_runs(tmp_path):
    Result(status="running", base={"n": 3}).write(tmp_path)
    assert read(tmp_path).base == {"n": 3}
    assert ended(tmp_path) is None
    Result(status="killed").write(tmp_path)
    assert ended(tmp_path).status == "killed"


def test_no_result_is_none_and_a_foreign_one_is_named(tmp_path):
    assert read(tmp_path) is None
    (tmp_path / "result.json").write_text('{"something": 1}')
    with pytest.raises(UserError, match=r"result\.json is not a result of rlvr"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("model.path is wrong"), "failed", "model.path is wrong"),
        (ValueError("no"), "failed", "ValueError: no"),
        (KeyboardInterrupt(), "killed", "KeyboardInterrupt: interrupted"),
        (Terminated("ended by SIGTERM"), "killed", "Terminated: ended by SIGTERM"),
    ],
)
def test_what_ended_a_run_is_recorded(error, status, message):
    result = Result()
    try:
        raise error
    except BaseException as raised:
        result.fail(raised)
    assert (result.status, result.error) == (status, message)
    assert "Traceback" in result.traceback


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        (-9, "killed", "job #3 died with signal 9 (SIGKILL)"),
        (-15, "killed", "job #3 died with signal 15 (SIGTERM)"),
        (-2, "killed", "job #3 died with signal 2 (SIGINT)"),
        (-11, "failed", "job #3 died with signal 11 (SIGSEGV)"),
        (7, "failed", "job #3 ended with exit code 7 and left no result"),
    ],
)
def test_a_process_that_is_gone_without_a_result(code, status, message):
    result = of_exit(3, code)
    assert result.status == status
    assert result.error.startswith(message)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "x.json"
    write_atomic(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(file, "new\udcff")
    assert file.read_text() == "old"


def test_code_state_sees_commits_and_changes(tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *identity, "-C", tmp_path, *arguments], check=True)

    assert code_state(tmp_path / "nowhere") == (None, "")
    git("init", "-q")
    (tmp_path / "a").write_text("1\n")
    git("add", "a")
    git("commit", "-qm", "a")
    state, diff = code_state(tmp_path)
    assert (state["dirty"], state["diff_sha256"], diff) == (False, None, "")
    (tmp_path / "a").write_text("2\n")
    state, diff = code_state(tmp_path)
    assert state["dirty"]
    assert "+2" in diff


def test_versions_name_what_decides_a_run():
    assert json.dumps(versions())
    assert {"torch", "trl", "transformers"} <= set(versions())
