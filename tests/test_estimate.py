"""What a run will take, from files alone."""

import pytest

from rlvr import estimate


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
