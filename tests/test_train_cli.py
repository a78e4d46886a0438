"""`python train.py` as a user types it, in real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "trl", "peft", "mlflow", "sagemaker", "datasets", "submitit")


def train(*arguments, **environment):
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    env = os.environ | environment
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120)


def test_help_lists_groups_and_options_and_loads_nothing_heavy():
    code = (
        f"import sys, runpy; sys.argv = ['train.py', '--help']\n"
        f"try: runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')\n"
        f"except SystemExit: pass\n"
        f"print('HEAVY', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "* gsm8k " in out.stdout
    assert "\nshots: 8\n" in out.stdout
    assert "HEAVY []" in out.stdout


def test_help_of_a_wrong_command_line_says_so():
    out = train("--help", "modle=tiny")
    assert out.returncode == 1
    assert out.stderr == "modle=tiny: there is no key modle: did you mean model?\n"


@pytest.mark.parametrize("arguments", [["shots=-1"], ["shots=4,99", "-m"]])
def test_the_first_line_says_what_is_going_on(arguments, tmp_path):
    out = train(*arguments, RLVR_OUTPUT_DIR=str(tmp_path))
    assert out.stderr.startswith("train.py: composing the configuration ...\n")


def test_what_prints_a_config_prints_nothing_else():
    out = train("--cfg", "job", "model=tiny")
    assert out.returncode == 0
    assert out.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["shots=banana"], "Value 'banana' of type 'str' could not be converted to Integer"),
        (["shots=-1"], "shots=-1: must be 0 or more"),
        (["trainer.learnin_rate=3"], "did you mean trainer.learning_rate?"),
        (["trainer.learnin_rate=3,4", "-m"], "did you mean trainer.learning_rate?"),
        (["model=tyny", "--cfg", "job"], "model has no option tyny: did you mean tiny?"),
        (["+trainer.top_k=3"], "so write +trainer.extra.top_k=VALUE"),
        (["-m", "--cfg", "job"], "choose one of -m, --cfg and --info"),
        (["shots=4,8"], "add --multirun"),
        (["output_dir=/proc/nope"], "output_dir=/proc/nope"),
        (["shots=4,99", "-m"], "shots=99"),
        (["shots=4,8", "-m", "--cfg", "job"], "what a sweep would do says: rlvr check ... -m"),
        (["-m", "--cfg=job"], "what a sweep would do says: rlvr check ... -m"),
        (["launcher.resume=last"], "no sweep in"),
        (["experiment=debug", "launcher.resume=last"], "goes on with a sweep: add -m"),
        (["run=a/b"], "run=a/b: must be the name of a directory"),
        (["experiment=debug", "run=a,b", "-m"], "run names the directory of the whole sweep"),
    ],
)
def test_a_mistake_costs_a_message_and_no_traceback(arguments, expected, tmp_path):
    out = train(*arguments, RLVR_OUTPUT_DIR=str(tmp_path))
    text = out.stdout + out.stderr
    assert out.returncode == 1
    assert expected in text
    for unwanted in ("Traceback", "HYDRA_FULL_ERROR", "Error executing job", "To append"):
        assert unwanted not in text


def test_bad_data_stops_a_sweep_before_any_job_without_torch(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"question": "a", "answer": "many"}\n' * 2)
    data = ("dataset=jsonl", f"dataset.path={tmp_path}/bad.jsonl", "tracking=none")
    code = (
        f"import sys, runpy; sys.argv = ['train.py', *{data!r}, 'shots=0', 'seed=1,2', '-m']\n"
        f"try: runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')\n"
        f"finally: print('torch' in sys.modules)"
    )
    env = os.environ | {"RLVR_OUTPUT_DIR": str(tmp_path / "out")}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert out.returncode == 1
    assert out.stdout == "False\n"
    assert out.stderr.count("bad.jsonl:1: 'many'") == 1
    assert "2 of 2 jobs cannot run, so none was started:\n  job #0 seed=1; #1 seed=2" in out.stderr
    assert not list(tmp_path.glob("out/sweeps/*")), "nothing is left"


def test_the_multirun_flag_may_stand_anywhere():
    sys.path.insert(0, str(ROOT))
    import train as entry

    assert entry.multirun_first(["a=1", "-m", "b=2"]) == ["-m", "a=1", "b=2"]
    assert entry.multirun_first(["a=1", "--multirun"]) == ["--multirun", "a=1"]
    assert entry.multirun_first(["a=1"]) == ["a=1"]


def test_a_typo_in_a_yaml_file_names_the_file(tmp_path):
    import shutil

    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf/trainer/grpo.yaml").write_text("learnin_rate: 3\n")
    out = train("--config-dir", str(tmp_path / "conf"), "--config-path", str(tmp_path / "conf"))
    assert "In 'trainer/grpo'" in out.stderr
    assert "Key 'learnin_rate' not in 'TrainerConfig'" in out.stderr
    assert "Traceback" not in out.stderr
