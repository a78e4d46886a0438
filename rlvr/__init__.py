"""Experiments in reinforcement learning with verifiable rewards, configured by Hydra."""

from rlvr.compare.frames import load_answers, load_metrics, load_run, load_sweep

__all__ = ["load_answers", "load_metrics", "load_run", "load_sweep"]
__version__ = "0.1.0"
