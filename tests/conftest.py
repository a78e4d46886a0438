"""Child processes of tests find the package and the Hydra plugins the way train.py makes them."""

import os
import shutil
import sys
from pathlib import Path

# Several test processes share the cores; torch's threads would only fight for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
PATHS = [str(ROOT), str(ROOT / "launchers")]

sys.path[:0] = [path for path in PATHS if path not in sys.path]
inherited = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(PATHS + inherited))

import pytest  # noqa: E402


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    """Runs share the answers of base models through this folder; tests do not."""
    monkeypatch.setenv("RLVR_OUTPUT_DIR", str(tmp_path / "outputs"))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """One folder for all processes of this test session."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def sdk_cache(shared_folder):
    """Where the SageMaker launcher keeps what the SDK made: loading the SDK takes seconds."""
    return shared_folder / "sdk-cache"


@pytest.fixture(scope="session")
def migrated(shared_folder):
    """An empty MLflow database: migrating one takes seconds."""
    from rlvr.tracking import store

    database = shared_folder / "mlflow" / "mlflow.db"
    store._ensure_database(database)
    return database


@pytest.fixture
def mlflow_uri(migrated, tmp_path):
    """A SQLite store of the test's own."""
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture(scope="session")
def tokenizer():
    """The embedded model's tokenizer, built in code."""
    from rlvr.assets.make_tiny import build_tokenizer

    return build_tokenizer()


@pytest.fixture
def random_model(tokenizer):
    """A random Qwen2 of the embedded model's shape, the same at every call."""
    import torch
    from transformers import Qwen2ForCausalLM

    from rlvr.assets.make_tiny import build_config

    torch.manual_seed(0)
    return Qwen2ForCausalLM(build_config(tokenizer)).eval()


@pytest.fixture
def saved_model(random_model, tokenizer, tmp_path):
    """A directory that `model.path` can name."""
    folder = tmp_path / "random-model"
    random_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def compose_config():
    """Compose conf/ with overrides, as train.py does, without Hydra's own node."""
    from hydra import compose, initialize_config_dir

    from rlvr import config

    config.register()

    def composed(*overrides):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose("config", list(overrides))

    return composed


@pytest.fixture(scope="session")
def harness():
    """The module `shared_prefix_harness`, with torch on one thread."""
    import gc

    import shared_prefix_harness
    import torch

    torch.set_num_threads(1)
    # A trainer collects garbage when it starts; what is imported by now need not be searched.
    gc.collect()
    gc.freeze()
    yield shared_prefix_harness
    gc.unfreeze()
