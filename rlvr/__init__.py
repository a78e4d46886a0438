"""Experiments in reinforcement learning with verifiable rewards, configured by Hydra."""

__version__ = "0.1.0"
