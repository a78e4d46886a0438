"""A sandbox is chosen by trying it; without one no code runs, unless somebody says so."""

import logging

import pytest

from rlvr.sandbox import choose as module
from rlvr.sandbox.backends import Backend
from rlvr.sandbox.choose import SandboxUnavailable, choose, probe


def test_the_first_that_works_is_chosen_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found = {b: f"no {b} here" for b in Backend} | {Backend.landlock: "works"}
    monkeypatch.setattr(module, "probe", found.__getitem__)
    with caplog.at_level(logging.INFO):
        choice = choose("auto", allow_unsafe_execution=False)
    assert choice.backend is Backend.landlock
    assert "landlock (bubblewrap: no bubblewrap here; sandlock: no sandlock here)" in caplog.text


def test_without_any_the_message_says_what_was_found_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "probe", {b: f"no {b} here" for b in Backend}.__getitem__)
    with pytest.raises(SandboxUnavailable) as error:
        choose("auto", allow_unsafe_execution=True)
    assert "no bubblewrap here" in str(error.value)
    assert "no landlock here" in str(error.value)


def test_no_sandbox_needs_a_flag_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(module.UserError, match="allow_unsafe_execution=true"):
        choose("none", allow_unsafe_execution=False)
    assert choose("none", allow_unsafe_execution=True).backend is Backend.none
    assert "UNSAFE" in caplog.text
    with pytest.raises(module.UserError, match="expected auto or one of"):
        choose("docker", allow_unsafe_execution=True)


def test_the_probe_sees_that_no_sandbox_is_none() -> None:
    found = probe(Backend.none)
    assert all(wall in found for wall in ("files", "network", "signals", "processes"))
