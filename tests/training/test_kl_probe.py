"""When the distance from the base is measured; tests/safeguards/test_health.py sees it logged."""

from types import SimpleNamespace

import pytest

from rlvr.training.kl_probe import TIMES, KLProbe


@pytest.mark.parametrize("uses", [1, 4, 16])
def test_about_twenty_times_in_a_run_however_often_it_samples(tmp_path, uses):
    probe = KLProbe(tmp_path)
    args = SimpleNamespace(
        steps_per_generation=2 * uses, num_iterations=1, gradient_accumulation_steps=2
    )

    def due(step):
        state = SimpleNamespace(global_step=step, max_steps=1000)
        return probe.due(SimpleNamespace(args=args, state=state))

    assert not due(50), "nothing is kept yet"
    probe._kept = {}
    assert abs(sum(map(due, range(1, 1001, uses))) - TIMES) <= 1
