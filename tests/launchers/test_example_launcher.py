"""examples/launcher, found by Hydra as anybody's package would be."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

from rlvr.manifest import find, load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/launcher"
MACHINES = ("--config-dir", str(EXAMPLE / "conf"), "launcher=machines")
NAME = "machines"


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.setenv("PYTHONPATH", f"{EXAMPLE}{os.pathsep}{os.environ['PYTHONPATH']}")


@pytest.fixture
def registered(installed, default_version_base):
    from hydra_plugins.machines import MachinesLauncher

    Plugins.instance().register(MachinesLauncher)  # Hydra has looked around before


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("launcher_name", "overrides"), [(NAME, [])])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("launcher_name", "overrides"), [(NAME, ["hydra.sweeper.max_batch_size=2"])]
)
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.slow
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"), [({}, ["-m", f"hydra/launcher={NAME}"])]
)
class TestIntegration(IntegrationTestSuite):
    pass


@pytest.fixture
def machines(installed, app):
    app.environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    return app


def test_each_machine_runs_one_job_at_a_time(machines):
    both = 'launcher.machines=["env MARK=a","env MARK=b"]'
    output = machines.run(*MACHINES, both, "shots=0,1", "do=ok,raise,kill", code=1)
    assert machines.states() == ["finished", "failed", "killed"] * 2
    assert "died with signal 9 (SIGKILL)" in output
    marks = [machines.attempts(i)[0]["env"]["MARK"] for i in range(6)]
    assert set(marks) == {"a", "b"}
    first, second = (job.started for job in machines.manifest().jobs[:2])
    assert first is not None
    assert second is not None


def test_ctrl_c_stops_the_jobs_where_they_are(machines):
    process = machines.start(*MACHINES, "do=wait")
    machines.wait_running(1)
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert machines.states() == ["killed"]
    assert "ended by SIGTERM" in machines.manifest().jobs[0].error


def test_a_machine_that_is_not_there_is_named_before_anything_starts(machines):
    output = machines.run(*MACHINES, 'launcher.machines=["nosuchcommand gpu1"]', "shots=0", code=1)
    assert "`nosuchcommand gpu1 true` fails" in output
    assert "Traceback" not in output


def test_a_job_that_its_machine_lost_runs_again(machines):
    process = machines.start(*MACHINES, "do=wait", "launcher.check_seconds=0.3")
    machines.wait_running(1)
    leader = int((machines.sweep() / "0/pid").read_text())
    shell = int(Path(f"/proc/{leader}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(shell, signal.SIGKILL)
    os.kill(leader, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert "its machine does not run it any more" in output
    assert machines.states() == ["lost"]
    machines.release()
    machines.run(*MACHINES, "do=wait", "launcher.resume=last")
    assert machines.states() == ["finished"]


SWEEP = (
    *("-m", *MACHINES, 'launcher.machines=["nice -n 1",env]', "shots=0,2", "experiment=debug"),
    *("eval=none", "tracking=none", "dataset.loader.train_size=60", "trainer.max_steps=4"),
)


@pytest.mark.slow
def test_a_real_sweep_whose_controller_is_killed(installed, tmp_path):
    environment = os.environ | {"RLVR_OUTPUT_DIR": str(tmp_path)}
    command = [sys.executable, str(ROOT / "train.py"), *SWEEP]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while len(list(tmp_path.glob("sweeps/*/*/progress.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.2)
    process.kill()
    process.wait()
    resumed = subprocess.run(
        [*command, "launcher.resume=last"], env=environment, capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "still running, waited for: #0 shots=0; #1 shots=2" in resumed.stdout
    jobs = load(find("last", root=tmp_path / "sweeps")).jobs
    assert [job.state for job in jobs] == ["finished", "finished"]
    attempts = [json.loads((job.directory / "attempts.json").read_text()) for job in jobs]
    assert [len(a) for a in attempts] == [1, 1]
