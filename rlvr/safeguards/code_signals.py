"""Health metrics of code: what became of it, which tests it passed, signs of gaming."""

from collections import Counter

from rlvr.safeguards.health_signals import Batch, Metrics
from rlvr.sandbox.judging import SIGNS
from rlvr.verify.verdict import OUTCOMES, Execution, pass_rates

HONEST = frozenset({"catches_all"})  # what much honest code has, too
EXAMPLE = 120  # characters


def executions(batch: Batch) -> Metrics:
    """Shares of completions, zeros included; nothing where completions are no code."""
    ran = [verdict.execution for verdict in batch.verdicts if verdict.execution]
    if not ran:
        return {}
    outcomes = Counter(execution.outcome for execution in ran)
    signs = Counter(sign for execution in ran for sign in execution.signs)
    rates = pass_rates([(execution.shown, execution.hidden) for execution in ran])
    return {
        **{f"outcome_{outcome}": outcomes[outcome] / len(ran) for outcome in OUTCOMES},
        **{f"tests_passed_{which}": rate for which, rate in rates.items()},
        "gaming": sum(map(games, ran)) / len(ran),
        **{f"gaming_{sign}": signs[sign] / len(ran) for sign in SIGNS},
    }


def games(execution: Execution) -> bool:
    return not HONEST.issuperset(execution.signs)


def example(batch: Batch) -> str | None:
    """One line about a completion that shows a sign of gaming."""
    for verdict in batch.verdicts:
        if verdict.execution and games(verdict.execution):
            return " ".join(verdict.execution.code.split())[:EXAMPLE]
    return None
