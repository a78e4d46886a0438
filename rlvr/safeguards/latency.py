"""How long rewards and verifier take, for a run's estimate and a warning before it starts."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rlvr.config.steps import Steps
from rlvr.formatting import duration

FEW = 8  # completions of the larger of two timed calls
# Seconds a completion from which on rewards are a large share of a step: sampling a completion and
# learning from it takes a small model on one GPU about 0.2 s.
SLOW = 0.05


@dataclass(frozen=True)
class Latency:
    """Seconds of a call whatever its size, and seconds more for each of its completions."""

    call: float
    completion: float

    def seconds(self, completions: int) -> float:
        return self.call + self.completion * completions


def measure(judge: Callable[[Sequence[int]], object]) -> Latency:
    """`judge` is given numbers of completions, 0 to FEW + 1, and judges those.

    The first call is not timed: it loads modules and starts processes. No completion comes twice,
    since verifiers remember.
    """
    judge([0])
    one, few = _seconds(judge, [1]), _seconds(judge, range(2, 2 + FEW))
    each = max(0.0, (few - one) / (FEW - 1))
    return Latency(max(0.0, one - each), each)


def _seconds(judge: Callable[[Sequence[int]], object], completions: Sequence[int]) -> float:
    started = time.perf_counter()
    judge(completions)
    return time.perf_counter() - started


def summary(latencies: Mapping[str, Latency], steps: Steps) -> str:
    """One line: what each takes for a completion, and all of them for the run."""
    size = steps.completions
    each = ", ".join(f"{k} {_short(v.seconds(size) / size)}" for k, v in latencies.items())
    whole = steps.rollouts / size * sum(latency.seconds(size) for latency in latencies.values())
    return f"{each} a completion: {duration(whole)} for the run's {steps.rollouts} rollouts"


def slow(latencies: Mapping[str, Latency], steps: Steps) -> dict[str, str]:
    """What to say of each that takes a large share of a step."""
    size = steps.completions
    return {
        name: f"takes {_short(latency.seconds(size) / size)} a completion "
        f"({_short(latency.seconds(1))} for one, {_short(latency.seconds(size))} for the {size} of "
        f"a step): {duration(steps.rollouts / size * latency.seconds(size))} of this run"
        for name, latency in latencies.items()
        if latency.seconds(size) > SLOW * size
    }


def _short(seconds: float) -> str:
    if seconds < 1e-4:
        return "<0.1 ms"
    return f"{1000 * seconds:.1f} ms" if seconds < 0.1 else duration(seconds)
