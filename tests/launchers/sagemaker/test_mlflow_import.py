import json

import pytest

from rlvr.launchers.sagemaker import mlflow_import
from rlvr.launchers.sagemaker.mlflow_import import import_run, records

SCORE = {
    "accuracy": 0.5,
    "low": 0.4,
    "high": 0.6,
    "n": 10,
    "correct": 5.0,
    "pass_at_k": {"1": 0.5},
    "mean_length": 20.0,
    "format_rate": 1.0,
    "ended_rate": 1.0,
    "reasons": {"correct": 5, "wrong": 5},
}


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    lines = [{"step": i, "reward/total": i / 10, "train/nan": float("nan")} for i in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = {"metric": 0.5, "base": None, "trained": SCORE, "paired": {"p_value": 0.04}}
    result["benchmarks"] = {"svamp": {"trained": SCORE}}
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "config.yaml").write_text("a: 1")
    (folder / "evaluations").mkdir()
    for name in ("trained", "trained.svamp"):
        file = folder / f"evaluations/{name}.jsonl"
        file.write_text('{"question": "1+1", "correct": [true]}\n')
    return folder


def test_records(run_dir, tmp_path):
    found = list(records(run_dir))
    assert [step for step, _ in found] == [1, 2, 3, 0, 0, 0, 0]
    assert found[3][1]["trained/accuracy"] == found[5][1]["trained/svamp/accuracy"] == 0.5
    assert found[1][1]["reward/total"] == 0.2
    assert found[-1][1] == {"accuracy/trained": 0.5}
    assert list(records(tmp_path)) == []


def test_other_rules_have_the_names_that_a_run_itself_gives_them(run_dir):
    file = run_dir / "result.json"
    brief = {key: SCORE[key] for key in ("accuracy", "low", "high", "n", "correct")}
    found = {"lm_eval_gsm8k.strict-match": {"other_form": None, "trained": brief, "warning": None}}
    file.write_text(json.dumps({**json.loads(file.read_text()), "protocols": found}))
    logged = [m for _, m in records(run_dir) if any("lm_eval" in name for name in m)]
    prefix = "trained/lm_eval_gsm8k/strict-match"
    assert logged == [
        {f"{prefix}/{part}": float(value) for part, value in brief.items() if part != "correct"}
    ]


def test_an_import_can_be_repeated_and_cut_off(run_dir, mlflow_uri, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    uri = mlflow_uri
    client = MlflowClient(uri)
    experiment = client.create_experiment("x", artifact_location=str(tmp_path / "artifacts"))
    run_id = client.create_run(experiment).info.run_id
    client.log_metric(run_id, "accuracy/trained", float("nan"), step=0)  # as the controller does
    monkeypatch.setattr(mlflow_import, "PER_CALL", 2)
    log_batch, calls = MlflowClient.log_batch, []

    def failing(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise ConnectionError("cut off")
        return log_batch(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", failing)
    with pytest.raises(ConnectionError):
        import_run(uri, run_id, run_dir)
    assert import_run(uri, run_id, run_dir) > 10
    assert import_run(uri, run_id, run_dir) == 0

    points = client.get_metric_history(run_id, "reward/total")
    assert [(p.step, p.value) for p in points] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    values = client.get_run(run_id).data.metrics
    assert (values["trained/accuracy"], values["accuracy/trained"]) == (0.5, 0.5)
    assert values["trained/p_value"] == 0.04
    assert "train/nan" not in values
    files = {item.path for item in client.list_artifacts(run_id)}
    tables = {"trained_completions.json", "trained.svamp_completions.json"}
    assert files == {"config.yaml", "result.json", "metrics.jsonl", *tables}
