"""Which engine a setting stands for, and what `auto` keeps of what it has measured."""

import json
from contextlib import nullcontext
from functools import partial

import pytest
import torch

from rlvr.errors import UserError
from rlvr.sampling.choose import EngineChoice, engine_for, fastest, undecided
from rlvr.sampling.engine import Sampling
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.shared import SharedEngine
from rlvr.sampling.vllm.settings import VllmSettings

CPU = torch.device("cpu")
# A folder without a model: with vLLM or without, no engine can be started from it.
NOWHERE = VllmSettings("/nowhere", None, False, "float32", 512, 0, 0.3, "vllm.log")


@pytest.fixture
def chosen(random_model, tokenizer):
    def choose(*asked, prefix_cache=True):
        return engine_for(EngineChoice(*asked), random_model, tokenizer, prefix_cache).name

    return choose


def test_without_vllm_auto_is_the_prefix_cache(chosen):
    assert chosen("auto") == "shared"
    assert chosen("auto", prefix_cache=False) == "plain"


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("transformers", "plain"),
        ("shared", "shared"),
        ("vllm_colocate", "vllm"),
        ("vllm_server", "vllm"),
    ],
)
def test_an_engine_can_be_asked_for(chosen, wanted, name):
    assert chosen(wanted, NOWHERE) == name


def test_shared_is_refused_for_a_model_that_cannot_be_shared(random_model, chosen):
    random_model.config.layer_types = ["sliding_attention"] * 2
    assert chosen("auto") == "plain"
    with pytest.raises(UserError, match=r"trainer\.generation=shared"):
        chosen("shared")


def test_an_earlier_choice_is_taken_and_kept_in_the_runs_own_record(chosen, tokenizer, tmp_path):
    own, of_the_configuration = tmp_path / "run" / "generation.json", tmp_path / "other.json"
    asked = EngineChoice("auto", NOWHERE, (own, of_the_configuration))
    assert undecided(asked, PlainEngine(tokenizer), CPU)
    of_the_configuration.write_text(json.dumps({"chosen": "vllm_colocate"}))
    assert not undecided(asked, PlainEngine(tokenizer), CPU)
    assert chosen("auto", NOWHERE, asked.records) == "vllm"
    assert json.loads(own.read_text()) == {"chosen": "vllm_colocate"}
    assert chosen("auto", None, asked.records) == "shared", "where there is no vLLM"


def test_a_vllm_that_cannot_start_is_left_out_by_auto(random_model, tokenizer, tmp_path, caplog):
    usual = SharedEngine(tokenizer, self_check=False)
    asked = EngineChoice("auto", NOWHERE, (tmp_path / "generation.json",))
    lend = partial(nullcontext, random_model)
    prompts = tokenizer(["Question: Ann has 3 apples."] * 2)["input_ids"]
    assert fastest(asked, usual, tokenizer, lend, prompts, Sampling(4)) is usual
    assert "vllm is left out" in caplog.text
    record = json.loads((tmp_path / "generation.json").read_text())
    assert record["chosen"] == "shared"
    assert record["tokens_per_second"].keys() == {"shared"}
