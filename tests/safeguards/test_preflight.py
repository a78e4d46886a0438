"""What the check has found is shown, written and, where there are reasons, refused."""

import json

import pytest

from rlvr.errors import UserError
from rlvr.safeguards.preflight import Preflight


def brevity(completions, **columns):
    return [1 / (1 + len(text)) for text in completions]


def test_findings_are_shown_written_and_refused(checked, tmp_path, capsys):
    report = checked("dataset=word_problems", functions=[brevity])
    with pytest.raises(UserError, match=r"(?s)failed the pre-flight.*trainer\.preflight=off") as no:
        report.publish(tmp_path)
    assert report.findings[0] in str(no.value)
    shown = capsys.readouterr().out
    assert "brevity x 1" in shown
    assert "the verifier <0.1 ms, brevity <0.1 ms a completion" in shown
    assert "for the run's 3200 rollouts" in shown
    written = json.loads((tmp_path / "preflight.json").read_text())
    assert written["findings"] == report.findings
    assert written["weights"] == {"brevity": 1.0}
    assert 0 < written["paid"]["brevity"]["gold"] < 1


def test_a_control_is_shown_as_not_checked(checked, tmp_path, capsys):
    checked("dataset=word_problems", "rewards=random").publish(tmp_path)
    assert "random: control reward, not checked" in capsys.readouterr().out


def test_once_there_are_rollouts_they_are_shown(tmp_path, capsys):
    report = Preflight(8, {"format": 1.0}, [], paid={"total": {"gold": 1.0}})
    report.rollouts = {"summary": "16 rollouts of the base model: ..."}
    report.publish()
    assert capsys.readouterr().out == "16 rollouts of the base model: ...\n"
    assert not (tmp_path / "preflight.json").exists()


def test_all_findings_are_one_message(tmp_path):
    report = Preflight(8, {}, [], findings=["first.", "second."])
    with pytest.raises(UserError, match=r"check:\n  - first\.\n  - second\.\n  To train in spite"):
        report.publish()
