import json

import pytest
import yaml

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import payload
from rlvr.launchers.sagemaker.storage import Storage


@pytest.fixture
def job(tmp_path):
    """A job directory as the transport leaves it."""
    directory = tmp_path / "job"
    directory.mkdir()

    def write(**config):
        (directory / "config.yaml").write_text(yaml.safe_dump(config))
        (directory / "overrides.yaml").write_text("- shots=4\n")
        return directory

    return write


def config_of(made):
    return yaml.safe_load(made.files["config.yaml"])


def test_local_paths_become_channels(job, tmp_path):
    data, exemplars = tmp_path / "data", tmp_path / "shots.jsonl"
    data.mkdir()
    exemplars.write_text("{}")
    made = payload.make(
        job(
            dataset={"path": str(data), "exemplars": str(exemplars)},
            model={"path": "Qwen/Qwen2.5-0.5B"},
        ),
        "rlvr.worker",
        tracked=False,
    )
    assert config_of(made)["dataset"] == {
        "path": "/opt/ml/input/data/dataset",
        "exemplars": "/opt/ml/input/data/exemplars/shots.jsonl",
    }
    assert config_of(made)["model"]["path"] == "Qwen/Qwen2.5-0.5B"
    assert made.data == {"dataset": data.resolve(), "exemplars": exemplars.resolve()}


def test_a_local_path_that_is_gone_is_an_error(job):
    with pytest.raises(UserError, match=r"\./nothing: no such file"):
        payload.make(job(dataset={"path": "./nothing"}), "m", tracked=False)


def test_the_config_fits_the_container(job):
    config = {
        "tracking": {"name": "mlflow", "uri": "sqlite:////home/me/mlflow.db"},
        "launcher": {"role": "arn:secret-ish"},
        "output_dir": "/home/me/outputs",
        "model": {"path": "package:tiny"},
    }
    made = payload.make(job(**config), "rlvr.worker", tracked=False)
    shipped = config_of(made)
    assert shipped["tracking"] == {"name": "none", "uri": None}
    assert shipped["launcher"] == {}
    assert shipped["model"]["path"] == "package:tiny"
    assert "/home/me" not in str(made.files)
    tracked = payload.make(job(tracking={"name": "mlflow", "uri": "arn:x"}), "m", tracked=True)
    assert config_of(tracked)["tracking"]["uri"] == "arn:x"


def test_a_pickled_task_runs_at_its_own_path(tmp_path):
    (tmp_path / "task.pkl").write_bytes(b"x")
    made = payload.make(tmp_path, "rlvr.sweep.pickled", tracked=False)
    where = json.loads(made.files["job.json"])
    assert where["directory"] == str(tmp_path)
    assert set(made.files) == {"task.pkl", "job.json"}


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (None, False),
        ("sqlite:////x/mlflow.db", False),
        ("http://127.0.0.1:5000", False),
        ("http://localhost:5000", False),
        ("https://mlflow.example.org", True),
        ("arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/x", True),
    ],
)
def test_which_stores_a_job_can_reach(uri, expected):
    assert payload.reachable(uri) is expected


def test_data_is_uploaded_once_per_content(job, tmp_path):
    import boto3
    from moto import mock_aws

    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_text("1")
    made = payload.make(job(dataset={"path": str(data)}), "m", tracked=False)
    with mock_aws():
        client = boto3.client("s3", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="bucket")
        first, second = (Storage(client, "bucket", "p") for _ in range(2))
        uris = [
            payload.upload(made, s, "sweeps", "1", str(i)) for i, s in enumerate((first, second))
        ]
        assert uris[0]["dataset"] == uris[1]["dataset"]
        assert uris[0]["job"] != uris[1]["job"]
        assert first.uploads == second.uploads + 2, "the file and its marker"
        (data / "train.jsonl").write_text("2")
        changed = payload.upload(made, second, "sweeps", "1", "2")
        assert changed["dataset"] != uris[0]["dataset"]
