"""From `dataset.verifier` to the verifier of a run: the one place that builds it."""

import inspect
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from rlvr.config.checks import OFFERED, target_problems
from rlvr.errors import UserError, raised_at
from rlvr.verify.verdict import Verifier


def build_verifier(dataset: DictConfig, key: str = "dataset") -> Verifier:
    """The verifier that `dataset.verifier` names, built with the parameters set there.

    A parameter in OFFERED that it takes and that is not set has the dataset's own value. UserError
    says what is wrong, with the dataset's `key`: of an exception in the user's class with its file
    and line.
    """
    if problems := list(target_problems(f"{key}.verifier", dataset.verifier, OFFERED)):
        raise UserError("\n".join(problems))
    node: Any = OmegaConf.to_container(dataset.verifier, resolve=True)
    target = get_object(name := node.pop("_target_"))
    takes = inspect.signature(target).parameters
    offered = {key: OmegaConf.select(dataset, place) for key, place in OFFERED.items()}
    given = {key: value for key, value in offered.items() if key in takes and value is not None}
    try:
        verifier = target(**{**given, **node})
    except UserError:
        raise
    except Exception as error:  # whatever the user's class raises
        raise UserError(
            f"{key}.verifier: {name} raised {type(error).__name__}: {error} ({raised_at(error)})"
        ) from error
    lacking = [m for m in ("canonical", "verify") if not callable(getattr(verifier, m, None))]
    if lacking:
        raise UserError(
            f"{key}.verifier._target_={name} has no method {' and no method '.join(lacking)}; "
            "docs/rewards.md says what a verifier is."
        )
    return verifier  # type: ignore[no-any-return]
