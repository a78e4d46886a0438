"""From `dataset.verifier` to the verifier of a run: the one place that builds it."""

import inspect
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rlvr.errors import UserError, failure
from rlvr.targets import import_target, target_problems
from rlvr.verify.verdict import Verifier

# What a verifier gets from its dataset where it takes it and `dataset.verifier` does not set it.
OFFERED = {
    "answer_prefix": "prompt.answer_prefix",
    "task": "loader.task",  # a generated dataset's answers are judged by what generated them
    "config": "loader.config",
}


def build_verifier(dataset: DictConfig, key: str = "dataset") -> Verifier:
    """The verifier that `dataset.verifier` names, built with the parameters set there.

    A parameter in OFFERED that it takes and that is not set has the dataset's own value. UserError
    says what is wrong, with the dataset's `key`: of an exception in the user's class with its file
    and line.
    """
    if problems := list(target_problems(f"{key}.verifier", dataset.verifier, OFFERED)):
        raise UserError("\n".join(problems))
    node: Any = OmegaConf.to_container(dataset.verifier, resolve=True)
    target = import_target(f"{key}.verifier", name := node.pop("_target_"))
    takes = inspect.signature(target).parameters
    offered = {key: OmegaConf.select(dataset, place) for key, place in OFFERED.items()}
    given = {key: value for key, value in offered.items() if key in takes and value is not None}
    try:
        verifier = target(**{**given, **node})
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever the user's class raises
        raise UserError(f"{key}.verifier: {name} {failure(error)}") from error
    lacking = [m for m in ("canonical", "verify") if not callable(getattr(verifier, m, None))]
    if lacking:
        raise UserError(
            f"{key}.verifier._target_={name} has no method {' and no method '.join(lacking)}; "
            "docs/rewards.md says what a verifier is."
        )
    return verifier  # type: ignore[no-any-return]
