"""Runs each file of this folder in a process of its own, and reports its tests as its own."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pretended_cuda import guard

WRITTEN_TO = "RLVR_PRETENDED_CUDA_REPORTS"  # by the child, a report a line
CHILD = WRITTEN_TO in os.environ
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
REPORTS = pytest.StashKey[dict[str, list[pytest.TestReport]]]()  # of a file's tests

if CHILD:
    guard.install()


@pytest.fixture
def no_cuda():
    """A torch that has no CUDA, and can be made to seem as if it had."""
    if reason := guard.unavailable():
        pytest.skip(reason)


@pytest.fixture
def cuda(no_cuda):
    """What a GPU would have been asked to do, while there seems to be one."""
    from pretended_cuda.pretence import pretended_cuda

    with pretended_cuda() as record:
        yield record


def pytest_itemcollected(item):
    if not CHILD:
        item.add_marker(pytest.mark.timeout(0))  # the child's clock counts, test by test


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    """Called for the tests of every folder: others run as they always do."""
    if CHILD or item.path.parent != HERE or guard.unavailable():
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports(item)[item.nodeid]:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _reports(item):
    """Of all tests of the item's file, which run together."""
    if REPORTS not in item.parent.stash:
        names = [other.nodeid for other in item.session.items if other.path == item.path]
        item.parent.stash[REPORTS] = _run(item.config, names)
    return item.parent.stash[REPORTS]


def _run(config, names):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *names]
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "reports"
        written.touch()
        done = subprocess.run(
            command, env=env | {WRITTEN_TO: str(written)}, cwd=ROOT, capture_output=True, text=True
        )
        lines = written.read_text().splitlines()
    found = {name: [] for name in names}
    for line in lines:
        report = config.hook.pytest_report_from_serializable(config=config, data=json.loads(line))
        found[report.nodeid].append(report)
    died = f"its process has ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    for name, reports in found.items():
        if not reports:
            place = (name.partition("::")[0], None, name)
            reports.append(pytest.TestReport(name, place, {}, "failed", died, "call"))
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if CHILD:
        data = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
        with open(os.environ[WRITTEN_TO], "a") as file:
            file.write(json.dumps(data) + "\n")
    return report
