"""`pytestmark` of every test file that runs jobs on the emulator."""

import pytest

from .sandbox import WHY_NOT, available_mode

EMULATED = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(available_mode() is None, reason=WHY_NOT),
]
