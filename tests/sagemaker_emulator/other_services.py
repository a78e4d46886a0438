"""What clients ask of IAM, SNS and the price list, as far as moto does not answer or keep it."""

import json
from typing import Any

from . import wire


def published(environ: wire.Environ) -> dict[str, str]:
    """TopicArn, Subject and Message of an SNS message, as far as it has them."""
    told = wire.form(environ)
    return {key: told[key] for key in ("TopicArn", "Subject", "Message") if key in told}


def price_page(products: list[dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """GetProducts: those whose attributes are all as the filters say, page by page."""
    asked = {f["Field"]: f["Value"] for f in request.get("Filters", [])}
    asked["servicecode"] = request["ServiceCode"]
    found = [p for p in products if asked.items() <= _attributes(p).items()]
    start, size = int(request.get("NextToken", 0)), request.get("MaxResults", 100)
    page: dict[str, Any] = {"FormatVersion": "aws_v1"}
    page["PriceList"] = [json.dumps(product) for product in found[start : start + size]]
    return page | ({"NextToken": str(start + size)} if start + size < len(found) else {})


def _attributes(product: dict[str, Any]) -> dict[str, str]:
    """Of its product node, the family and the service beside what it calls attributes."""
    node = product["product"]
    own = {"productFamily": node.get("productFamily", "")}
    return {**node["attributes"], **own, "servicecode": product["serviceCode"]}


def allow_all(actions: list[str]) -> str:
    """The XML answer of iam:SimulatePrincipalPolicy, which moto lacks: everything is allowed."""
    members = "".join(
        f"<member><EvalActionName>{action}</EvalActionName>"
        "<EvalDecision>allowed</EvalDecision></member>"
        for action in actions
    )
    return (
        '<SimulatePrincipalPolicyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<SimulatePrincipalPolicyResult><EvaluationResults>{members}</EvaluationResults>"
        "<IsTruncated>false</IsTruncated></SimulatePrincipalPolicyResult>"
        "<ResponseMetadata><RequestId>emulated</RequestId></ResponseMetadata>"
        "</SimulatePrincipalPolicyResponse>"
    )
