"""What a run will take, from files alone."""

import pytest

from rlvr import estimate


def test_steps_are_counted_as_trl_counts_them(compose_config):
    def count(rows, *overrides):
        return estimate.steps(compose_config("~launcher", *overrides), rows).count

    assert count(1000, "trainer.max_steps=7") == 7
    assert count(1000) == 500  # 4 questions a step, 2 epochs
    assert count(1, "trainer.num_train_epochs=3") == 3
    assert count(1000, "trainer.num_processes=2", "trainer.micro_batch_size=4") == 500


def test_no_machine_changes_the_steps_and_reuse_saves_rollouts(compose_config):
    def steps(*overrides):
        return estimate.steps(compose_config("~launcher", *overrides), 1000)

    assert steps() == estimate.Steps(500, 32, 16000)
    split = "trainer.optimizer_steps_per_generation=4"
    assert steps(split) == estimate.Steps(496, 32, 15872), "62 generation batches of 16 questions"
    assert steps("trainer.num_iterations=2") == estimate.Steps(1000, 32, 16000)
    assert steps(split, "trainer.max_steps=6") == estimate.Steps(6, 32, 256)


def test_memory_of_full_training_and_adapters(compose_config):
    weights = {"embed": [1000, 10], "layer.q": [20, 10], "norm": [10]}

    def bytes_of(peft):
        return estimate.memory(compose_config("~launcher", f"peft={peft}", "peft.r=2"), weights, 2)

    assert bytes_of("none") == 10_210 * 2 * 4
    assert bytes_of("lora") == 10_210 * 2 + 2 * 30 * 16
    assert bytes_of("qlora") == pytest.approx(10_010 * 2 + 200 * 0.516 + 2 * 30 * 16)


def test_shapes_come_from_the_file_headers(saved_model, random_model):
    shapes = estimate.shapes(saved_model)
    counted = sum(parameter.numel() for parameter in random_model.parameters())
    assert (
        sum(rows * (columns[0] if columns else 1) for rows, *columns in shapes.values()) == counted
    )
