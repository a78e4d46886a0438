import time

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from rlvr.launchers.sagemaker.bootstrap import END_OF_LOG
from rlvr.launchers.sagemaker.logs import LogFollower
from rlvr.launchers.sagemaker.service import GROUP, Service


@pytest.fixture
def logs(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    with mock_aws():
        yield boto3.client("logs", region_name="us-east-1")


def write(logs, stream, *lines):
    now = int(time.time() * 1000)
    events = [{"timestamp": now + i, "message": line} for i, line in enumerate(lines)]
    logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)


def text(follower):
    lines = follower.file.read_text().splitlines()
    return [line.partition(" (")[0] for line in lines]


def test_follows_restarts_hosts_and_late_lines(logs, tmp_path):
    follower = LogFollower(Service("us-east-1"), "job", tmp_path / "train.log")
    assert follower.poll() == 0, "the group does not exist yet"
    logs.create_log_group(logGroupName=GROUP)
    assert follower.poll() == 0
    for stream in ("job/algo-1-100", "job-other/algo-1-100"):
        logs.create_log_stream(logGroupName=GROUP, logStreamName=stream)
    assert follower.poll() == 0, "a stream without events"
    write(logs, "job-other/algo-1-100", "not ours")
    write(logs, "job/algo-1-100", "a", "b")
    follower.poll()
    assert text(follower) == ["[rlvr] ---- algo-1, start 1", "a", "b"]
    write(logs, "job/algo-1-100", "c")
    assert follower.poll() > 0
    assert follower.poll() == 0
    assert not follower.complete

    logs.create_log_stream(logGroupName=GROUP, logStreamName="job/algo-1-200")
    write(logs, "job/algo-1-200", "after the interruption", f"{END_OF_LOG} 0")
    write(logs, "job/algo-1-100", "late")
    follower.poll()
    assert text(follower)[4:] == [
        "late",
        "[rlvr] ---- algo-1, start 2",
        "after the interruption",
        f"{END_OF_LOG} 0",
    ]
    assert follower.complete


def test_a_new_follower_writes_the_file_anew(logs, tmp_path):
    logs.create_log_group(logGroupName=GROUP)
    logs.create_log_stream(logGroupName=GROUP, logStreamName="job/algo-1-1")
    write(logs, "job/algo-1-1", "a")
    for _ in range(2):
        follower = LogFollower(Service("us-east-1"), "job", tmp_path / "train.log")
        follower.poll()
    assert text(follower) == ["[rlvr] ---- algo-1, start 1", "a"]


class Pages:
    """CloudWatch as it documents itself: a page may be empty though more follow.

    A page that is an exception is raised, once.
    """

    def __init__(self, *pages):
        self.pages = list(pages)

    def get_log_events(self, **asked):
        number = int(asked.get("nextToken", 0))
        if number < len(self.pages) and isinstance(self.pages[number], Exception):
            error, self.pages = self.pages[number], [p for p in self.pages if not is_error(p)]
            raise error
        events = self.pages[number] if number < len(self.pages) else []
        following = min(number + 1, len(self.pages))
        return {"events": [{"message": m} for m in events], "nextForwardToken": str(following)}


def is_error(page):
    return isinstance(page, Exception)


def following(pages, tmp_path, monkeypatch):
    service = Service("us-east-1")
    service.__dict__["logs"] = pages
    follower = LogFollower(service, "job", tmp_path / "train.log")
    monkeypatch.setattr(follower, "_streams", lambda: ["job/algo-1-1"])
    return follower


def test_an_empty_page_is_not_the_end(tmp_path, monkeypatch):
    follower = following(Pages(["a"], [], [], ["b"], []), tmp_path, monkeypatch)
    assert follower.poll() == 3
    assert text(follower) == ["[rlvr] ---- algo-1, start 1", "a", "b"]
    assert follower.poll() == 0
    follower.service.logs.pages.append(["c"])
    follower.poll()
    assert text(follower)[-1] == "c"


def test_what_came_before_an_error_is_kept_and_does_not_come_again(tmp_path, monkeypatch):
    answer = {"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}
    throttled = ClientError(answer, "GetLogEvents")
    follower = following(Pages(["a", "b"], throttled, ["c"], []), tmp_path, monkeypatch)
    with pytest.raises(ClientError, match="Rate exceeded"):
        follower.poll()
    assert text(follower) == ["[rlvr] ---- algo-1, start 1", "a", "b"]
    assert follower.poll() == 1
    assert text(follower) == ["[rlvr] ---- algo-1, start 1", "a", "b", "c"]
