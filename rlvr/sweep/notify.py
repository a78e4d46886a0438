"""`launcher.notify`: one message when a sweep has ended, to an SNS topic or to a command."""

import os
import re
import subprocess

TOPIC = re.compile(r"arn:aws[\w-]*:sns:([\w-]+):\d{12}:[\w.-]+")
LONGEST_SUBJECT = 100  # SNS refuses more, and what is not ASCII
PATIENCE = 60.0  # seconds for a command


def send(target: str, subject: str, text: str) -> None:
    """The command gets `text` as its input and `subject` in RLVR_SUBJECT.

    Raises what boto3 or `subprocess.run` raises.
    """
    if topic := TOPIC.fullmatch(target):
        import boto3

        line = subject.encode("ascii", "replace").decode()[:LONGEST_SUBJECT]
        client = boto3.client("sns", region_name=topic[1])
        client.publish(TopicArn=target, Subject=line, Message=text)
        return
    subprocess.run(
        target,
        shell=True,
        input=text,
        text=True,
        check=True,
        timeout=PATIENCE,
        env={**os.environ, "RLVR_SUBJECT": subject},
    )
