"""`launcher.notify`: a message that arrives, by command or by SNS topic."""

import json
import subprocess

import boto3
import pytest
from moto import mock_aws

from rlvr.sweep.notify import send


def test_a_command_gets_the_text_and_its_subject(tmp_path):
    file = tmp_path / "told"
    send(
        f'echo "$RLVR_SUBJECT" > {file}; cat >> {file}', "rlvr s: 2 finished", "#0: fine\n#1: fine"
    )
    assert file.read_text() == "rlvr s: 2 finished\n#0: fine\n#1: fine"


def test_a_command_that_fails_says_so():
    with pytest.raises(subprocess.CalledProcessError, match="status 7"):
        send("exit 7", "subject", "text")


@pytest.fixture
def inbox(monkeypatch):
    """A topic of eu-west-1, and what has arrived of it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        sqs, sns = (boto3.client(name, region_name="eu-west-1") for name in ("sqs", "sns"))
        url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
        queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        topic = sns.create_topic(Name="ends")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue["QueueArn"])

        def arrived():
            bodies = [m["Body"] for m in sqs.receive_message(QueueUrl=url).get("Messages", [])]
            return [(message["Subject"], message["Message"]) for message in map(json.loads, bodies)]

        yield topic, arrived


def test_a_topic_gets_them_in_its_own_region(inbox):
    topic, arrived = inbox
    send(topic, "rlvr s: 2 finished", "#0: fine")
    assert arrived() == [("rlvr s: 2 finished", "#0: fine")]


def test_a_subject_is_made_what_sns_takes(inbox):
    topic, arrived = inbox
    send(topic, "rlvr " + "é" * 200, "text")
    assert arrived() == [("rlvr " + "?" * 95, "text")]
