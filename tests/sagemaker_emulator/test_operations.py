"""Operations beside the life of a job: queries, notifications, prices, managed MLflow."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from sagemaker_emulator import ROLE, Emulator
from sagemaker_emulator.emulated import BUCKET, submit, take

pytestmark = pytest.mark.timeout(240)


def tag(**tags: str) -> dict[str, Any]:
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def search(emulator: Emulator, **expression: Any) -> list[str]:
    """Names of the jobs, over pages of two."""
    pages = (
        emulator.client("sagemaker")
        .get_paginator("search")
        .paginate(
            Resource="TrainingJob",
            SearchExpression=expression,
            SortBy="TrainingJobName",
            SortOrder="Ascending",
            PaginationConfig={"PageSize": 2},
        )
    )
    return [found["TrainingJob"]["TrainingJobName"] for page in pages for found in page["Results"]]


def where(name: str, operator: str, value: str | None = None) -> dict[str, Any]:
    return {"Name": name, "Operator": operator} | ({"Value": value} if value else {})


@pytest.fixture
def five(pretended: Emulator) -> Emulator:
    for number in range(3):
        submit(pretended, f"a-{number}", **tag(sweep="a", index=str(number)))
    submit(pretended, "b-0", **tag(sweep="b"))
    submit(pretended, "c-0")
    return pretended


def test_search_by_tags_over_pages(five: Emulator) -> None:
    assert search(five, Filters=[where("Tags.sweep", "Equals", "a")]) == ["a-0", "a-1", "a-2"]
    assert search(five, Filters=[where("Tags.sweep", "Exists")]) == ["a-0", "a-1", "a-2", "b-0"]
    assert search(five, Filters=[where("Tags.sweep", "NotExists")]) == ["c-0"]
    both = [where("Tags.sweep", "Equals", "a"), where("Tags.index", "In", "0,2")]
    assert search(five, Filters=both) == ["a-0", "a-2"]
    assert search(five, Filters=[*both[1:], where("Tags.sweep", "Equals", "b")]) == []
    either = [where("Tags.sweep", "Equals", "b"), where("TrainingJobName", "Contains", "c-")]
    assert search(five, Filters=either, Operator="Or") == ["b-0", "c-0"]
    found = [where("Tags.sweep", "NotEquals", "a")]
    assert search(five, SubExpressions=[{"Filters": found}, {"Filters": either[:1]}]) == ["b-0"]


def test_search_by_what_a_job_is(five: Emulator) -> None:
    (first, *_) = five.ledger().entries
    after = where("CreationTime", "GreaterThan", str(first.created))
    assert search(five, Filters=[after]) == ["a-1", "a-2", "b-0", "c-0"]
    kind = where("ResourceConfig.InstanceType", "Equals", "ml.m5.xlarge")
    assert len(search(five, Filters=[kind])) == 5
    with pytest.raises(ClientError, match="Value must"):
        search(five, Filters=[where("Tags.sweep", "Equals")])


def test_list_filters_sorts_and_pages(five: Emulator) -> None:
    take(five, running=4000)
    submit(five, "runs")
    for name in ("a-0", "a-1", "a-2", "b-0", "c-0"):
        five.jobs[name].wait()
    client = five.client("sagemaker")

    def listed(**asked: Any) -> list[str]:
        pages = client.get_paginator("list_training_jobs").paginate(**asked, MaxResults=2)
        return [job["TrainingJobName"] for page in pages for job in page["TrainingJobSummaries"]]

    assert listed() == ["runs", "c-0", "b-0", "a-2", "a-1", "a-0"], "newest first"
    assert listed(StatusEquals="InProgress") == ["runs"]
    ascending = {"SortBy": "Name", "SortOrder": "Ascending"}
    assert listed(NameContains="a-", **ascending) == ["a-0", "a-1", "a-2"]
    third = five.ledger().entries[2].created
    assert listed(CreationTimeBefore=third, **ascending)[:2] == ["a-0", "a-1"]
    assert listed(CreationTimeAfter=third + 1e6) == []
    with pytest.raises(ClientError, match="NextToken"):
        client.list_training_jobs(NextToken="made-up")


def test_what_is_published_can_be_read(pretended: Emulator) -> None:
    client = pretended.client("sns", "eu-west-1")
    topic = client.create_topic(Name="sweeps")["TopicArn"]
    client.publish(TopicArn=topic, Subject="done", Message="4 jobs, $1.20 & more")
    assert pretended.published == [
        {
            "TopicArn": topic,
            "Subject": "done",
            "Message": "4 jobs, $1.20 & more",
            "Region": "eu-west-1",
        }
    ]
    with pytest.raises(ClientError, match="NotFound"):
        client.publish(TopicArn=topic + "-not", Message="x")
    assert len(pretended.published) == 1


def test_managed_mlflow(pretended: Emulator) -> None:
    client = pretended.client("sagemaker")
    common = {"ArtifactStoreUri": f"s3://{BUCKET}/mlflow", "RoleArn": ROLE}
    client.create_mlflow_tracking_server(TrackingServerName="server", **common)
    told = client.describe_mlflow_tracking_server(TrackingServerName="server")
    assert (told["TrackingServerStatus"], told["IsActive"]) == ("Created", "Active")
    assert told["TrackingServerArn"].endswith(":mlflow-tracking-server/server")
    pretended.region().mlflow.servers["server"]["IsActive"] = "Inactive"
    told = client.describe_mlflow_tracking_server(TrackingServerName="server")
    assert told["IsActive"] == "Inactive"
    arn = client.create_mlflow_app(Name="app", **common)["Arn"]
    assert client.describe_mlflow_app(Arn=arn)["Status"] == "Created"
    abroad = pretended.client("sagemaker", "eu-west-1")
    for ask in (
        lambda: abroad.describe_mlflow_tracking_server(TrackingServerName="server"),
        lambda: abroad.describe_mlflow_app(Arn=arn),
    ):
        with pytest.raises(ClientError, match="ResourceNotFound"):
            ask()


def test_the_price_list_is_what_a_test_has_put_there(pretended: Emulator) -> None:
    for region in ("us-east-1", "eu-west-1"):
        for number in range(3):
            attributes = {"regionCode": region, "instanceName": f"ml.g{number}.xlarge"}
            product = {"productFamily": "ML Instance", "attributes": attributes}
            pretended.products.append({"product": product, "serviceCode": "AmazonSageMaker"})
    pages = list(
        pretended.client("pricing")
        .get_paginator("get_products")
        .paginate(
            ServiceCode="AmazonSageMaker",
            Filters=[{"Type": "TERM_MATCH", "Field": "regionCode", "Value": "eu-west-1"}],
            PaginationConfig={"PageSize": 2},
        )
    )
    assert [len(page["PriceList"]) for page in pages] == [2, 1]
    assert all("eu-west-1" in product for page in pages for product in page["PriceList"])


def test_a_resource_has_at_most_fifty_tags(pretended: Emulator) -> None:
    job = submit(pretended, "tagged", **tag(**{f"k{number}": "v" for number in range(49)}))
    client = pretended.client("sagemaker")
    client.add_tags(ResourceArn=job.arn, Tags=[{"Key": "last", "Value": ""}])
    with pytest.raises(ClientError, match="at most 50 tags"):
        client.add_tags(ResourceArn=job.arn, Tags=[{"Key": "more", "Value": ""}])
    assert len(client.list_tags(ResourceArn=job.arn)["Tags"]) == 50


def test_s3_keeps_versions_and_writes_on_a_condition(pretended: Emulator) -> None:
    s3 = pretended.client("s3")
    s3.create_bucket(Bucket="emulator-tests-versions")
    place = {"Bucket": "emulator-tests-versions", "Key": "x"}
    enabled = {"Status": "Enabled"}
    s3.put_bucket_versioning(Bucket=place["Bucket"], VersioningConfiguration=enabled)
    first = s3.put_object(**place, Body=b"1")["VersionId"]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(**place, Body=b"2", IfNoneMatch="*")
    s3.put_object(**place, Body=b"3")
    assert s3.get_object(**place)["Body"].read() == b"3"
    assert s3.get_object(**place, VersionId=first)["Body"].read() == b"1"
