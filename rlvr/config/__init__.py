"""The typed configuration: schema, loading, and every check that needs no model."""

from rlvr.config.checks import problems, unwritable, validate
from rlvr.config.schema import Config, load, register, to_yaml
from rlvr.config.training import warnings

__all__ = [
    "Config",
    "load",
    "problems",
    "register",
    "to_yaml",
    "unwritable",
    "validate",
    "warnings",
]
