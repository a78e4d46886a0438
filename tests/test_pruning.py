"""Which runs are hopeless, from scores alone."""

from collections.abc import Sequence

import numpy as np
import pytest

from rlvr import pruning
from rlvr.config.pruner import PrunerConfig, PrunerName
from rlvr.evaluation.statistics import wilson
from rlvr.pruning import BASE, Look, prune

INTERVAL = PrunerConfig(PrunerName.interval)
THIRD = PrunerConfig(PrunerName.asha, [0.1, 0.3], reduction=3)
STEPS, N = 40, 128


def look(share: float, accuracy: float) -> Look:
    found = wilson(accuracy * N, N)
    return Look(share, round(share * STEPS), accuracy, found.low, found.high, N)


def run(base: float, *accuracies: float, shares: Sequence[float] = (0.1, 0.2, 0.35)) -> list[Look]:
    later = [look(*pair) for pair in zip(shares, accuracies, strict=False)]
    return [look(BASE, base), *later]


def test_a_run_below_its_own_base_needs_no_other_run():
    fallen = {0: run(0.4, 0.3, 0.1)}
    pruned = prune(INTERVAL, fallen, [0])[0]
    assert (pruned.rule, pruned.against, pruned.look.step) == ("below its base", None, 8)
    assert "after step 8 (20% of the steps) it answers 10.0 % (" in pruned.reason
    assert "base model with 40.0 %" in pruned.reason
    for name in PrunerName:
        assert (0 in prune(PrunerConfig(name), fallen, [0])) is True
    assert prune(INTERVAL, {0: run(0.4, 0.3)}, [0]) == {}, "the intervals overlap"
    assert prune(INTERVAL, {0: run(0.0, 0.0)}, [0]) == {}, "as bad as before is no loss"


def test_a_run_is_compared_with_the_best_at_the_same_share():
    looks = {0: run(0.3, 0.4, 0.5), 1: run(0.3, 0.7, 0.9), 2: run(0.3, 0.8)}
    pruned = prune(INTERVAL, looks, [0, 1, 2])
    assert [*pruned] == [0]
    assert (pruned[0].rule, pruned[0].against) == ("below the best", 1), "2 is not as far"
    assert "run 1 90.0 %" in pruned[0].reason
    looks[1].pop()
    assert prune(INTERVAL, looks, [0]) == {}, "nobody else is as far"


def test_only_what_runs_is_ended_and_what_has_ended_counts():
    looks = {0: run(0.3, 0.9), 1: run(0.3, 0.4)}
    assert [*prune(INTERVAL, looks, [1])] == [1], "the other has finished"
    assert prune(INTERVAL, looks, [0]) == {}
    assert prune(INTERVAL, {0: run(0.3), 1: []}, [0, 1]) == {}, "none but the base, or nothing"


def test_of_the_runs_at_a_rung_the_best_part_goes_on():
    scores = [0.9, 0.7, 0.5, 0.35, 0.32, 0.31]
    looks = {number: run(0.3, score) for number, score in enumerate(scores)}
    assert [*prune(THIRD, looks, range(6))] == [2, 3, 4, 5], "a third of six are two"
    first = {number: looks[number] for number in (5, 4)}
    assert prune(THIRD, first, [5, 4]) == {}, "the last that goes on is as good, by its interval"
    half = PrunerConfig(PrunerName.asha, reduction=2)
    assert [*prune(half, {0: looks[0], 3: looks[3]}, [0, 3])] == [3]


def test_no_order_changes_what_is_decided():
    generator = np.random.default_rng(0)
    looks = {n: run(0.3, *generator.uniform(0.2, 1.0, 3)) for n in range(8)}
    for settings in (INTERVAL, THIRD):
        expected = prune(settings, looks, range(8))
        turned = dict(reversed(looks.items()))
        assert prune(settings, turned, [*reversed(range(8))]) == expected


@pytest.mark.parametrize("equals", [2, 6, 16])
def test_equal_runs_are_hardly_ever_told_apart(equals):
    """Simulated sweeps whose runs are equally good: any that is ended is a mistake."""
    generator, ended, sweeps = np.random.default_rng(0), 0, 100
    shares = INTERVAL.looks
    for _ in range(sweeps):
        true = np.linspace(0.4, 0.9, len(shares))
        looks = {
            n: run(0.3, *(generator.binomial(N, true) / N), shares=shares) for n in range(equals)
        }
        pruned = {
            number
            for upto in range(1, len(shares) + 1)
            for number in prune(INTERVAL, {n: found[: upto + 1] for n, found in looks.items()},
                                range(equals))
        }  # fmt: skip
        ended += len(pruned)
    assert ended / (sweeps * equals) < 0.03


def test_what_is_written_is_read(tmp_path):
    assert pruning.read_looks(tmp_path) == []
    assert pruning.told(tmp_path) is None
    looks = run(0.3, 0.5)
    pruning.write_looks(tmp_path, looks)
    assert pruning.read_looks(tmp_path) == looks
    pruned = prune(INTERVAL, {0: run(0.4, 0.1)}, [0])[0]
    pruning.tell(tmp_path, pruned)
    assert pruning.told(tmp_path) == pruned
