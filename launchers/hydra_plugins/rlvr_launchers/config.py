"""Registers the launchers. Hydra imports this at every start: nothing heavy may be imported here.

All settings live in the config's own `launcher` node (conf/launcher/*.yaml).
"""

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore


@dataclass
class LocalConf:
    _target_: str = "hydra_plugins.rlvr_launchers.local.LocalLauncher"


@dataclass
class SlurmConf:
    _target_: str = "hydra_plugins.rlvr_launchers.slurm.SlurmLauncher"


for name, node in (("rlvr_local", LocalConf), ("rlvr_slurm", SlurmConf)):
    ConfigStore.instance().store(group="hydra/launcher", name=name, node=node, provider="rlvr")
