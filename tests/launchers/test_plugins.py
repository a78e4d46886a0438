"""Hydra imports every plugin module at every start, `--help` included."""

import subprocess
import sys

HEAVY = ("torch", "transformers", "trl", "mlflow", "sagemaker", "submitit", "rlvr", "rich")
SCAN = f"""
import sys
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
found = {{p.__name__: p.__module__ for p in Plugins.instance().discover(Launcher)}}
assert found["LocalLauncher"], found
ours = [n for n in sys.modules if n.startswith("hydra_plugins.rlvr_launchers")]
assert len(ours) >= 4, ours
print([m for m in {HEAVY} if m in sys.modules])
print(sorted(ConfigStore.instance().list("hydra/launcher")))
"""


def test_scan_imports_nothing_heavy():
    command = [sys.executable, "-c", SCAN]
    heavy, launchers = subprocess.check_output(command, text=True).splitlines()
    assert heavy == "[]"
    assert "rlvr_local.yaml" in launchers
    assert "rlvr_slurm.yaml" in launchers
    assert "rlvr_sagemaker.yaml" in launchers


def test_each_launcher_is_one_class():
    from hydra.core.plugins import Plugins
    from hydra.plugins.launcher import Launcher

    modules = [p.__module__ for p in Plugins.instance().discover(Launcher)]
    ours = [m for m in modules if m.startswith("hydra_plugins.rlvr_launchers")]
    assert len(ours) == len(set(ours))
