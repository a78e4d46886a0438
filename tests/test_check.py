"""`rlvr check` finds what would stop a run, without loading a model unless asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr.check import check, project_root
from rlvr.cli import main
from rlvr.errors import UserError
from rlvr.machine import Machine

ROOT = Path(__file__).resolve().parents[1]
SMALL = [
    *("experiment=debug", "dataset.loader.train_size=60", "dataset.loader.test_size=8"),
    *("tracking=none", "trainer.max_steps=3"),
]


@pytest.fixture
def checked(saved_model, capsys):
    """What the command prints about a small configuration."""

    def run(*overrides, **options):
        check([*SMALL, f"model.path={saved_model}", *overrides], **options)
        return " ".join(capsys.readouterr().out.split())

    return run


def test_it_says_what_does_not_fit_and_what_cannot_act(checked, monkeypatch):
    monkeypatch.setattr("rlvr.machine.here", lambda cfg: Machine("this machine", 0, 30e6))
    shown = checked("trainer.micro_batch_size=16", "trainer.epsilon=0.1", "trainer.learning_rate=1")
    assert "this will not fit; the nearest that does: trainer.micro_batch_size=" in shown
    assert "warning trainer.epsilon cannot act" in shown


def test_it_says_what_will_happen(checked):
    shown = checked("eval.n=5", "eval.k=2")
    assert "word_problems: 54 train, 6 validation, 8 test questions, 2 shots" in shown
    assert "3 steps of 16 completions; 2 questions x 8 completions: 48 rollouts of at most" in shown
    assert "5 test questions, 2 sampled answers each, before and after training" in shown
    assert "parameters; weights, gradients and optimizer take" in shown
    assert "(peft=none) memory micro-batches of 16, 1 to an optimizer step; at most about" in shown
    assert "gold 1.00 1.00 1.50" in shown
    assert "columns a reward may take question (text), gold (text), solution (text)" in shown
    assert "prompts, completions, completion_ids, verdicts, trainer_state, log_extra" in shown
    assert "format <0.1 ms, correctness <0.1 ms a completion" in shown
    assert shown.endswith("All checks passed.")


def test_rollouts_are_refused_without_variance(saved_model, capsys):
    overrides = [*SMALL, f"model.path={saved_model}", "trainer.max_completion_length=4"]
    with pytest.raises(UserError, match="differ within 0 of 32 groups"):
        check(overrides, rollouts=True)


def test_rollouts_of_a_control_are_timed(checked):
    shown = checked("rewards=random", "trainer.max_completion_length=4", rollouts=True)
    assert "random: control reward, not checked" in shown
    assert "rollouts a second here: the 48 of training take" in shown


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.num_generations=5", "does not hold whole groups"),
        ("shots=x", "could not be converted to Integer"),
        ("shots=2,4", "add -m to check every job of a sweep"),
        ("modle=tiny", "rlvr check: modle=tiny: there is no key modle: did you mean model?"),
        ("rewards.format._target_=no.such.thing", "no.such.thing"),
    ],
)
def test_bad_input_is_one_message(override, said, capsys):
    code = main(["check", *SMALL, override])
    assert code == 1
    assert said in capsys.readouterr().err


def test_a_run_is_refused_before_the_model_loads(compose_config, tmp_path):
    from rlvr.run import run

    (tmp_path / "my_rewards_for_check.py").write_text(
        "def typo(completions, **columns):\n    return [float(c) for c in completions]\n"
    )
    sys.path.insert(0, str(tmp_path))
    own = "+rewards.typo={_target_: my_rewards_for_check.typo}"
    (tmp_path / "config.json").write_text("{}")  # no weights: loading would fail
    cfg = compose_config("~launcher", *SMALL, f"model.path={tmp_path}", own)
    with pytest.raises(UserError, match=r"(?s)'typo' raised ValueError.*trainer\.preflight=off"):
        run(cfg, tmp_path / "run")
    sys.path.remove(str(tmp_path))
    written = json.loads((tmp_path / "run/preflight.json").read_text())
    assert len(written["findings"]) == 1
    assert json.loads((tmp_path / "run/result.json").read_text())["status"] == "failed"


def test_it_works_in_the_users_own_project(tmp_path, monkeypatch):
    assert project_root() == ROOT
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/config.yaml").touch()
    (tmp_path / "train.py").touch()
    monkeypatch.chdir(tmp_path)
    assert project_root() == tmp_path


def test_without_rollouts_no_torch_is_loaded():
    code = (
        "import sys; from rlvr.cli import main\n"
        f"code = main(['check', *{SMALL}])\n"
        "print('loaded', code, [n for n in ('torch', 'transformers', 'trl') if n in sys.modules])"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)
    assert "loaded 0 []" in shown
