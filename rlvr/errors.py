"""Errors that are the user's to mend: Hydra prints their message alone, without a traceback."""

from hydra.errors import CompactHydraException


class UserError(CompactHydraException):
    """Bad input. The message names the key, file or row, what was expected, and how to fix it."""
