from urllib.parse import unquote

import pytest

from rlvr.tracking import links

RUNS = ["id1", "id2"]


def of(uri: str, **changes) -> dict[str, str | None]:
    given = {"parent_run_id": "p0", "run_ids": RUNS, "metric": "trained/accuracy", **changes}
    return links(uri, "7", **given)


def test_sqlite_needs_a_command():
    found = of("sqlite:////data/with space/mlflow.db")
    assert found["command"] == (
        "mlflow ui --backend-store-uri 'sqlite:////data/with space/mlflow.db' --port 5000"
    )
    assert found["runs_url"].startswith("http://127.0.0.1:5000/#/experiments/7/runs?")


def test_the_runs_page_is_sorted_by_the_metric_and_shows_the_children():
    page = unquote(of("http://tracker:5000/")["runs_url"])
    assert "searchFilter=tags.mlflow.parentRunId = 'p0'" in page
    assert "orderByKey=metrics.`trained/accuracy`&orderByAsc=false" in page
    assert "compareRunsMode=CHART" in page


def test_the_compare_page_lists_the_runs():
    found = of("http://tracker:5000")
    assert found["command"] is None
    assert unquote(found["compare_url"]) == (
        'http://tracker:5000/#/compare-runs?runs=["id1","id2"]&experiments=["7"]'
    )


def test_one_run_is_linked_itself():
    found = of("http://tracker:5000", parent_run_id=None, run_ids=["id1"])
    assert found["runs_url"] == "http://tracker:5000/#/experiments/7/runs/id1"
    assert found["compare_url"] is None


@pytest.mark.parametrize(
    "uri", ["https://user:secret@host:8080/mlflow", "postgresql://user:secret@host/db"]
)
def test_links_have_no_credentials(uri: str):
    assert "secret" not in str(of(uri))


def test_a_path_in_front_of_the_server_is_kept():
    assert of("https://u:p@host:8080/mlflow/")["runs_url"].startswith("https://host:8080/mlflow/#/")


@pytest.mark.parametrize(
    ("resource", "part"),
    [
        ("mlflow-tracking-server/my-server", "--tracking-server-name my-server"),
        ("mlflow-app/app-1", "create-presigned-mlflow-app-url"),
    ],
)
def test_sagemaker_needs_a_signed_url(resource: str, part: str):
    found = of(f"arn:aws:sagemaker:eu-west-1:123456789012:{resource}")
    assert part in found["command"]
    assert "--region eu-west-1" in found["command"]
    assert "/#/experiments/7/runs?" in found["runs_url"]
