import json

import pytest
import yaml

from rlvr.errors import UserError
from rlvr.launchers.sagemaker import payload


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


def contents(directory, module="rlvr.worker", *, tracked=False):
    """The job's config as it is shipped, its other files, and the sources of its channels."""
    answers = {"bucket": "b", "prefix": "rlvr/evaluations", "kms_key": None}
    files = payload.files(directory, module, tracked=tracked, answers=answers)
    assert json.loads(files["job.json"])["answers"] == answers
    written = directory / "config.yaml"
    sources = payload.sources(yaml.safe_load(written.read_text()) if written.is_file() else {})
    return yaml.safe_load(files.get("config.yaml", "{}")), files, sources


def test_local_paths_become_channels(job, tmp_path):
    data, exemplars = tmp_path / "data", tmp_path / "shots.jsonl"
    rates = tmp_path / "base.jsonl"
    data.mkdir()
    exemplars.write_text("{}")
    rates.write_text("{}")
    config, _, sources = contents(
        job(
            dataset={"path": str(data), "exemplars": str(exemplars), "pass_rates": str(rates)},
            model={"path": "Qwen/Qwen2.5-0.5B"},
        )
    )
    assert config["dataset"] == {
        "path": "/opt/ml/input/data/dataset",
        "exemplars": "/opt/ml/input/data/exemplars/shots.jsonl",
        "pass_rates": "/opt/ml/input/data/pass-rates/base.jsonl",
    }
    assert config["model"]["path"] == "Qwen/Qwen2.5-0.5B"
    files = {"dataset": data, "exemplars": exemplars, "pass-rates": rates}
    assert sources == {channel: path.resolve() for channel, path in files.items()}


def test_a_benchmarks_files_become_channels_of_its_own(job, tmp_path):
    file = tmp_path / "svamp.jsonl"
    file.write_text("{}")
    benchmarks = {"svamp": {"path": str(file), "exemplars": "package:gsm8k"}}
    config, _, sources = contents(job(eval={"benchmarks": benchmarks}))
    shipped = config["eval"]["benchmarks"]["svamp"]
    assert shipped["path"] == "/opt/ml/input/data/benchmark-svamp/svamp.jsonl"
    assert shipped["exemplars"] == "package:gsm8k"
    assert sources == {"benchmark-svamp": file.resolve()}


def test_a_local_path_that_is_gone_is_an_error(job):
    with pytest.raises(UserError, match=r"\./nothing: no such file"):
        contents(job(dataset={"path": "./nothing"}))


def test_the_config_fits_the_container(job):
    config = {
        "tracking": {"name": "mlflow", "uri": "sqlite:////home/me/mlflow.db"},
        "launcher": {"role": "arn:secret-ish"},
        "output_dir": "/home/me/outputs",
        "model": {"path": "package:tiny"},
    }
    shipped, files, _ = contents(job(**config))
    assert shipped["tracking"] == {"name": "none", "uri": None}
    assert shipped["launcher"] == {}
    assert shipped["model"]["path"] == "package:tiny"
    assert "/home/me" not in str(files)
    tracked, _, _ = contents(job(tracking={"name": "mlflow", "uri": "arn:x"}), tracked=True)
    assert tracked["tracking"]["uri"] == "arn:x"


def test_a_pickled_task_runs_at_its_own_path(tmp_path):
    (tmp_path / "task.pkl").write_bytes(b"x")
    _, files, _ = contents(tmp_path, "rlvr.sweep.pickled")
    where = json.loads(files["job.json"])
    assert where["directory"] == str(tmp_path)
    assert set(files) == {"task.pkl", "job.json"}


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
