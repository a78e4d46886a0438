"""The parts of the bootstrap; test_sweep*.py run it as PID 1 of a container."""

import json
import os
import signal
import subprocess
import sys
import time

import boto3
import pytest
from moto import mock_aws

from rlvr.launchers.sagemaker import bootstrap
from rlvr.launchers.sagemaker.bootstrap import (
    Container,
    command,
    failure,
    finish,
    hosts,
    prepare,
    supervise,
)


def container(ml, *, hosts=("algo-1",), host="algo-1", **job):
    (ml / "input/data/job").mkdir(parents=True, exist_ok=True)
    (ml / "input/config").mkdir(parents=True, exist_ok=True)
    for folder in ("output/data", "model"):
        (ml / folder).mkdir(parents=True, exist_ok=True)
    (ml / "input/data/job/job.json").write_text(json.dumps({"module": "rlvr.worker", **job}))
    (ml / "input/data/job/config.yaml").write_text("a: 1\n")
    resources = {"hosts": list(hosts), "current_host": host}
    (ml / "input/config/resourceconfig.json").write_text(json.dumps(resources))
    return Container.read(ml)


def test_one_host_starts_one_worker(tmp_path):
    made = container(tmp_path)
    assert command(made) == [sys.executable, "-m", "rlvr.worker", str(tmp_path / "checkpoints/run")]


def test_each_of_several_hosts_knows_the_others(tmp_path):
    names = [f"algo-{i}" for i in range(1, 12)]
    made = hosts(container(tmp_path, hosts=sorted(names), host="algo-11"))
    assert made == {"RLVR_HOSTS": ",".join(names), "RLVR_HOST": "10"}
    assert hosts(container(tmp_path)) == {}


def test_a_second_life_keeps_what_the_first_has_left(tmp_path, capsys):
    made = container(tmp_path)
    prepare(made)
    (made.run_dir / "checkpoints/checkpoint-4").mkdir(parents=True)
    (made.run_dir / "result.json").write_text('{"status": "killed"}')
    prepare(made)
    assert "start number 2" in capsys.readouterr().out
    assert not (made.run_dir / "result.json").exists()
    assert (made.run_dir / "checkpoints/checkpoint-4").is_dir()


@pytest.mark.parametrize(
    ("result", "code", "expected"),
    [
        ({"error": "ValueError: x", "traceback": None}, 1, "ValueError: x"),
        ({"error": "ValueError: x", "traceback": "line 1\nline 2"}, 1, "line 1\nline 2"),
        (None, 137, "killed by SIGKILL: most likely out of memory"),
        (None, 139, "killed by SIGSEGV"),
        (None, 7, "exit code 7 and left no result"),
        ({"error": None}, 1, "exit code 1"),
    ],
)
def test_the_failure_is_the_jobs_own(tmp_path, result, code, expected):
    if result is not None:
        (tmp_path / "result.json").write_text(json.dumps(result))
    assert expected in failure(tmp_path, code)


def test_a_long_failure_keeps_error_and_end_of_traceback(tmp_path):
    record = {"error": "ValueError: " + "x" * 200, "traceback": "t" * 5000 + "the end"}
    (tmp_path / "result.json").write_text(json.dumps(record))
    text = failure(tmp_path, 1)
    assert text.startswith("ValueError: xxx")
    assert text.endswith("the end")
    assert 1000 < len(text) <= 1024
    record["error"] = "x" * 3000
    (tmp_path / "result.json").write_text(json.dumps(record))
    assert len(failure(tmp_path, 1)) == 1024


def test_finish_puts_things_where_sagemaker_takes_them_from(tmp_path):
    made = container(tmp_path)
    prepare(made)
    for name in ("result.json", "eval_base.jsonl", "checkpoints/checkpoint-1/x", "model/adapter"):
        path = made.run_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    finish(made, 0)
    kept = {
        p.relative_to(tmp_path / "output/data").as_posix() for p in made.ml.glob("output/data/*")
    }
    assert {"result.json", "eval_base.jsonl", "config.yaml"} <= kept
    assert not kept & {"checkpoints", "model"}
    assert (tmp_path / "model/adapter").read_text() == "1"
    assert not (tmp_path / "output/failure").exists()


SAVES = """
import signal, sys, time
def end(*_):
    print("saved", flush=True); sys.exit(143)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""


def child(code):
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture
def signals():
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_sigterm_is_passed_on_and_waited_for(tmp_path):
    worker = child(SAVES)
    assert worker.stdout.readline() == "ready\n"
    parent = os.getpid()
    subprocess.Popen([sys.executable, "-c", f"import os; os.kill({parent}, 15)"])
    assert supervise(worker) == 143
    assert worker.stdout.read() == "saved\n"


@pytest.mark.usefixtures("signals")
def test_a_worker_that_does_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap, "TERM_TO_KILL", 0.5)
    worker = child(
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"
        "\ntime.sleep(60)"
    )
    worker.stdout.readline()
    began = time.monotonic()
    subprocess.Popen([sys.executable, "-c", f"import os; os.kill({os.getpid()}, 15)"])
    assert supervise(worker) == 137
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("stored", ["hf_plain", '{"HF_TOKEN": "hf_plain"}', '{"any": "hf_plain"}'])
def test_the_token_comes_from_secrets_manager(monkeypatch, stored):
    with mock_aws():
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        client = boto3.client("secretsmanager", region_name="eu-west-1")
        arn = client.create_secret(Name="hf", SecretString=stored)["ARN"]
        monkeypatch.setenv("RLVR_HF_TOKEN_ARN", arn)
        env = bootstrap.environment()
    assert env["HF_TOKEN"] == "hf_plain"
    assert "RLVR_HF_TOKEN_ARN" not in env


@pytest.fixture
def topic(monkeypatch):
    """A topic of another region than the job's own, and the messages that have come."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        sqs, sns = (boto3.client(name, region_name="eu-west-1") for name in ("sqs", "sns"))
        url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
        queue = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        arn = sns.create_topic(Name="ends")["TopicArn"]
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue["QueueArn"])
        monkeypatch.setenv("RLVR_NOTIFY_TOPIC", arn)
        monkeypatch.setenv("TRAINING_JOB_NAME", "rlvr-1-000-abc-1")

        def arrived():
            bodies = [m["Body"] for m in sqs.receive_message(QueueUrl=url).get("Messages", [])]
            return [(message["Subject"], message["Message"]) for message in map(json.loads, bodies)]

        yield arrived


def test_a_job_that_nobody_watches_says_that_it_has_ended(tmp_path, topic):
    made = container(tmp_path)
    prepare(made)
    bootstrap.tell(made, 0)
    assert topic() == [("rlvr: rlvr-1-000-abc-1", "finished")]
    (made.run_dir / "result.json").write_text(json.dumps({"error": "ValueError: x"}))
    bootstrap.tell(made, 1)
    assert topic() == [("rlvr: rlvr-1-000-abc-1", "ValueError: x")]
    bootstrap.tell(container(tmp_path, hosts=("algo-1", "algo-2"), host="algo-2"), 0)
    assert topic() == [], "one of its hosts says it"


def test_a_topic_that_is_gone_ends_no_job(tmp_path, topic, monkeypatch, capsys):
    monkeypatch.setenv("RLVR_NOTIFY_TOPIC", "arn:aws:sns:eu-west-1:123456789012:gone")
    bootstrap.tell(container(tmp_path), 0)
    assert "[rlvr] the topic was not told: " in capsys.readouterr().out
    assert topic() == []
    monkeypatch.delenv("RLVR_NOTIFY_TOPIC")
    bootstrap.tell(container(tmp_path), 0)
    assert capsys.readouterr().out == ""
