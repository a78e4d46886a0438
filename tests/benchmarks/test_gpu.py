"""The ten minutes for a GPU, in the small form that a CPU gets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GPU = ROOT / "benchmarks/gpu.py"


def lines(*arguments: str, folder: Path) -> list[dict[str, object]]:
    command = [sys.executable, str(GPU), *arguments]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'launchers'}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_attentions_are_compared_with_float64(tmp_path: Path) -> None:
    found = lines("--check", "attentions", folder=tmp_path)
    assert [line["passed"] for line in found] == [True] * 4
    assert {str(line["what"]).partition(",")[0] for line in found} == {"tree", "dense"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_of_it_in_one_command(tmp_path: Path) -> None:
    lines(folder=tmp_path)
    written = tmp_path / "outputs/benchmarks/gpu"
    found = json.loads((written / "results.json").read_text())
    checks = {"versions", "attentions", "updates", "engines", "qlora", "zero3", "recipe"}
    assert {line["check"] for line in found} == checks
    assert all(line["passed"] is not False for line in found)
    assert (written / "table.md").read_text().count("\n") == 2 + len(found)
