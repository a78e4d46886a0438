"""`study.json`: a sweep's study as its report shows it, without Optuna and its database."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr.result import write_atomic

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

FILE = "study.json"
LEAST = 4  # complete trials, from which on an importance says anything


def write(study: "Study", directory: Path) -> None:
    from optuna.distributions import FloatDistribution, IntDistribution
    from optuna.trial import TrialState

    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.params]
    spaces = {key: space for trial in trials for key, space in trial.distributions.items()}
    numbers = (FloatDistribution, IntDistribution)
    record = {
        "name": study.study_name,
        "direction": study.direction.name.lower(),
        "logarithmic": [k for k, s in spaces.items() if isinstance(s, numbers) and s.log],
        "importances": _importances(study),
        "trials": [
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "params": trial.params,
                "value": trial.value if trial.state is TrialState.COMPLETE else None,
                "last": [*trial.intermediate_values.values()][-1:],
            }
            for trial in trials
        ],
    }
    write_atomic(directory / FILE, json.dumps(record, indent=2) + "\n")


def read(directory: Path) -> dict[str, Any] | None:
    file = directory / FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def best(study: "Study") -> "FrozenTrial | None":
    """Of those that were trained to their end."""
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return study.best_trial if complete else None


def _importances(study: "Study") -> dict[str, float]:
    """Of the settings for the value, by fANOVA; empty where there is too little to say."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < LEAST or len({trial.value for trial in complete}) < 2:
        return {}
    evaluator = FanovaImportanceEvaluator(seed=0)
    return {k: float(v) for k, v in get_param_importances(study, evaluator=evaluator).items()}
