"""Steps and rollouts of a run, from its settings and the number of its questions."""

import pytest

from rlvr.config.steps import Steps, planned_steps, too_few_rows
from rlvr.errors import UserError


def test_steps_are_counted_as_trl_counts_them(compose_config):
    def count(rows, *overrides):
        return planned_steps(compose_config("~launcher", *overrides), rows).count

    assert count(1000, "trainer.max_steps=7") == 7
    assert count(1000) == 500  # 4 questions a step, 2 epochs
    assert count(1000, "trainer.num_processes=2", "trainer.micro_batch_size=4") == 500


def test_no_machine_changes_the_steps_and_reuse_saves_rollouts(compose_config):
    def steps(*overrides):
        return planned_steps(compose_config("~launcher", *overrides), 1000)

    assert steps() == Steps(500, 32, 16000)
    split = "trainer.optimizer_steps_per_generation=4"
    assert steps(split) == Steps(496, 32, 15872), "62 generation batches of 16 questions"
    assert steps("trainer.num_iterations=2") == Steps(1000, 32, 16000)
    assert steps(split, "trainer.max_steps=6") == Steps(6, 32, 256)


@pytest.mark.parametrize(("rows", "sampled"), [(1, 4), (3, 4), (20, 32)])
def test_epochs_of_fewer_questions_than_are_sampled_at_once_are_no_measure(
    compose_config, rows, sampled
):
    cfg = compose_config(f"trainer.optimizer_steps_per_generation={sampled // 4}")
    with pytest.raises(UserError, match=rf"the {sampled} that .*: set trainer\.max_steps=N"):
        planned_steps(cfg, rows)
    cfg.trainer.max_steps = 7
    assert planned_steps(cfg, rows).count == 7
    assert too_few_rows(cfg, rows) is None
