"""What a run needs from elsewhere, looked at before its data: the tracking server, the model."""

from functools import cache

from omegaconf import DictConfig

from rlvr.errors import UserError
from rlvr.model_files import model_files
from rlvr.tracking.store import probe, resolve_uri

PATIENCE = 10  # seconds for the hub's answer
WAYS_OUT = (
    "Give a model of the Hugging Face hub, or model.path=DIR with config.json, tokenizer and "
    "weights; model=tiny is embedded"
)


def check(cfg: DictConfig) -> None:
    """Raise UserError for a server that does not answer or a model that is nowhere.

    Each is asked once in a process, whatever the number of runs.
    """
    if cfg.tracking.name == "mlflow":
        probe(resolve_uri(cfg.tracking.uri))
    if problem := model_problem(cfg.model.path, cfg.model.revision):
        raise UserError(f"model.path={cfg.model.path}: {problem}. {WAYS_OUT}.")


@cache
def model_problem(path: str, revision: str | None) -> str | None:
    """Why a model can be had neither from this machine nor from the hub; None if it can."""
    if model_files(path, revision) is not None:
        return None
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if constants.HF_HUB_OFFLINE:
        return "not in the hub's cache on this machine, and HF_HUB_OFFLINE forbids asking the hub"
    try:
        found = HfApi().model_info(path, revision=revision, timeout=PATIENCE)
    except HFValidationError:
        return "neither a directory nor a name on the Hugging Face hub, such as Qwen/Qwen2.5-0.5B"
    except RevisionNotFoundError:
        return f"the hub's model has no revision {revision} (model.revision)"
    except RepositoryNotFoundError:
        return "the hub has no such model, or shows it only with HF_TOKEN (private)"
    except HfHubHTTPError as error:
        return f"the hub refused to tell of it: {_first_line(error)}"
    except Exception as error:  # the HTTP client and its errors change between hub releases
        return f"not in the hub's cache, and the hub does not answer ({_first_line(error)})"
    if found.gated and not get_token():
        return f"gated: accept its terms at https://huggingface.co/{path} and set HF_TOKEN"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
