import gc
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="session")
def harness() -> Iterator[ModuleType]:
    """The module beside this file."""
    path = Path(__file__).with_name("harness.py")
    spec = importlib.util.spec_from_file_location("shared_prefix_harness", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # A trainer collects garbage when it starts; what is imported by now need not be searched.
    gc.collect()
    gc.freeze()
    yield module
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
