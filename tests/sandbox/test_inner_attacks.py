"""The same assertions as for all attacks, against candidates that know what is inside."""

import os

import pytest
from sandbox.attacks import READER, TESTS
from sandbox.inner_attacks import DRAINS, ESCAPES, FORGERIES, READ
from sandbox.test_attacks import Host, host, judge, sandbox  # noqa: F401  (two are fixtures)

from rlvr.sandbox.runner import Sandbox


@pytest.mark.parametrize("name", FORGERIES)
def test_no_program_forges_its_verdict(sandbox: Sandbox, host: Host, name: str) -> None:  # noqa: F811
    outcome = judge(sandbox, host, FORGERIES[name], TESTS)
    assert outcome.passed < outcome.total == 3
    assert outcome.failure not in (None, "not_compiled")


@pytest.mark.parametrize("name", DRAINS)
def test_no_program_exhausts_the_machine(sandbox: Sandbox, host: Host, name: str) -> None:  # noqa: F811
    outcome = judge(sandbox, host, DRAINS[name], TESTS[:1])
    assert outcome.passed == 0
    assert outcome.failure not in (None, "not_compiled")


@pytest.mark.parametrize("path", READ)
def test_no_program_reads_the_host(sandbox: Sandbox, host: Host, path: str) -> None:  # noqa: F811
    zygote = str(sandbox._process.pid)
    file = path.replace("PARENT", str(os.getpid())).replace("PPID", zygote)
    assert judge(sandbox, host, READER, [f"assert f({file!r}) == 'open'"]).passed == 0


@pytest.mark.parametrize("name", ESCAPES)
def test_no_program_leaves_the_sandbox(sandbox: Sandbox, host: Host, name: str) -> None:  # noqa: F811
    reach = [str(host.canary), os.getpid(), host.port, host.unix]
    outcome = judge(sandbox, host, ESCAPES[name], [f"assert f({reach!r}) == 'open'"])
    assert outcome.passed == 0, outcome
    assert outcome.failure != "not_compiled"
