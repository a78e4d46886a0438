"""`launcher.dry_run=true` prints what would be sent and does nothing."""

import json

from sagemaker_emulator.marks import EMULATED

pytest_plugins = ["sagemaker_emulator.testing"]
pytestmark = EMULATED


def test_every_request_is_shown_and_none_is_sent(cloud, emulator):
    output = cloud.run("shots=0,2", "launcher.dry_run=true")
    heads = [line for line in output.splitlines() if line.startswith("# job")]
    assert [head.partition(";")[0] for head in heads] == ["# job #0 shots=0", "# job #1 shots=2"]
    assert output.count("code: ") == 1
    first = output[output.index("{") : output.index("# job #1")].rpartition("}")[0] + "}"
    request = json.loads(first)
    assert request["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"
    assert {"Key": "rlvr.index", "Value": "0"} in request["Tags"]
    assert not emulator.requests
    assert not emulator.uploads
    assert not list((cloud.outputs / "sweeps").glob("*/sweep.json"))
