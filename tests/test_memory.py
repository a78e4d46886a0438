"""What the formula counts; benchmarks/memory.py compares it with measured peaks."""

import pytest

from rlvr.config import generation
from rlvr.machine import GIB, Machine
from rlvr.memory import Tokens, estimate, read_shape, shapes

TOKENS = Tokens(prefix=700, question=100, completion=200)


@pytest.fixture
def shape(saved_model):
    return read_shape(saved_model)


@pytest.fixture
def counted(compose_config, shape):
    def count(*overrides, micro=8, processes=1, gpu=False, tokens=TOKENS, machine=None):
        cfg = compose_config("~launcher", *overrides)
        machine = machine or Machine("", int(gpu), None)
        return estimate(cfg, shape, tokens, micro, processes, machine)

    return count


def test_shapes_come_from_the_file_headers_or_from_the_config(saved_model, random_model, shape):
    parameters = sum(parameter.numel() for parameter in random_model.parameters())
    assert shape.parameters == parameters
    layers = random_model.config.num_hidden_layers
    assert len(shape.linear) == 7 * layers
    for file in saved_model.glob("*.safetensors"):
        file.unlink()
    shapes.cache_clear()
    guessed = read_shape(saved_model)
    shapes.cache_clear()
    assert guessed.parameters == pytest.approx(parameters, rel=0.02), "but norms and biases"
    assert sorted(map(sorted, guessed.linear)) == sorted(map(sorted, shape.linear))


def test_a_model_of_an_unknown_kind_has_no_shape(tmp_path):
    assert read_shape(tmp_path) is None
    (tmp_path / "config.json").write_text('{"model_type": "mamba", "d_model": 64}')
    assert read_shape(tmp_path) is None


def test_weights_and_what_training_keeps_of_each(counted, shape):
    full = counted("peft=none")
    assert (full.weights, full.training) == (4 * shape.parameters, 12 * shape.parameters)
    assert counted("peft=none", gpu=True).weights == 6 * shape.parameters, "and casts to bfloat16"
    adapter = 2 * sum(map(sum, shape.linear))
    lora = counted("peft=lora", "peft.r=2", gpu=True)
    assert (lora.weights, lora.training) == (2 * shape.parameters + 4 * adapter, 12 * adapter)
    assert counted("peft=qlora", "peft.r=2", gpu=True).weights < lora.weights
    split = counted("peft=none", "trainer.distributed=zero3", processes=4)
    assert split.training == full.training / 4


def test_activations_are_those_of_distinct_tokens(counted):
    kept = ("peft=lora", "trainer.gradient_checkpointing=false")
    shared, stock = counted(*kept).update, counted(*kept, "trainer.shared_prefix=off").update
    assert stock > 2 * shared, "8 x 1000 tokens instead of 2400"
    assert counted("peft=lora").update < shared
    assert counted(*kept, micro=2).update < shared


def test_keys_and_values_are_kept_for_all_rows_of_a_generation_batch(counted):
    once = counted("peft=lora")
    assert (
        counted("peft=lora", "trainer.optimizer_steps_per_generation=4").rollout > 2 * once.rollout
    )
    assert counted("peft=lora", "trainer.prefix_cache=false").rollout > 2 * once.rollout
    assert counted("peft=lora", micro=1).rollout == once.rollout


GPU, TWO_GPUS = Machine("a GPU", 1, 24 * GIB), Machine("two", 2, 24 * GIB)
COLOCATE, SERVER = "trainer.generation=vllm_colocate", "trainer.generation=vllm_server"


def test_vllm_keeps_its_share_of_the_gpu_that_trains(counted):
    without, colocated = counted(machine=GPU), counted(COLOCATE, machine=GPU)
    assert (without.engine, colocated.engine) == (0, 0.3 * 24 * GIB)
    assert colocated.rollout == 0, "the trainer's model samples nothing"
    rest = colocated.weights + colocated.training + colocated.update
    assert colocated.peak == rest + colocated.engine
    assert counted(COLOCATE, "trainer.vllm.memory_share=0.5", machine=GPU).engine == 12 * GIB
    assert counted(SERVER, machine=GPU).engine == 0.3 * 24 * GIB, "of the one that trains too"
    for elsewhere in ([TWO_GPUS], [GPU, "trainer.vllm.server=127.0.0.1:8700"]):
        machine, *override = elsewhere
        assert counted(SERVER, *override, machine=machine).engine == 0


def test_vllm_on_a_cpu_has_weights_and_a_cache_of_its_own(counted, shape, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "2")
    assert counted(COLOCATE, "peft=qlora").engine == 4 * shape.parameters + 2 * GIB


def test_auto_has_room_for_the_vllm_that_it_may_choose(counted, monkeypatch):
    monkeypatch.setattr(generation, "unusable", lambda: None)
    may = counted(machine=GPU)
    assert (may.engine, may.rollout > 0) == (0.3 * 24 * GIB, True)
    assert counted("trainer.vllm.max_model_len=256", machine=GPU).engine == 0, "it has no room"
    monkeypatch.setattr(generation, "unusable", lambda: "vLLM is not installed")
    assert counted(machine=GPU).engine == 0
