"""vLLM in a process of its own: adapters follow the trainer's, and nothing is left of it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from rlvr.errors import UserError
from rlvr.sampling.engine import Sampling
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.stop import StopRule
from rlvr.sampling.vllm.engine import SERVER, VllmEngine

pytestmark = [pytest.mark.usefixtures("vllm"), pytest.mark.timeout(900)]

TEXTS = ["Question: Ann has 3 apples.", "Question: Tom has 12 pears and 4 plums. How many?", "Hi"]
GREEDY = Sampling(max_new_tokens=24, temperature=0)
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def padded(random_model, tokenizer, tmp_path):
    """A model with more rows in its vocabulary than the tokenizer has tokens, as Qwen2.5 has."""
    random_model.resize_token_embeddings(len(tokenizer) + 26)
    folder = tmp_path / "padded"
    random_model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return random_model, folder


def answered(engine, model, tokenizer, sampling=GREEDY, stop=None):
    ids = tokenizer(TEXTS)["input_ids"]
    rule = stop or StopRule(tuple("0123"), "####")
    return engine.sample(model, ids, sampling, rule, range(len(ids)))


def stir(model, seed):
    """As a step of training would: every trained weight moves."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn_like(weight))


def is_there(pid):
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("where", ["own", "elsewhere"])
def test_adapters_are_handed_over_alone_and_a_killed_server_is_one_message(
    padded, tokenizer, settings_of, serving, waited, where
):
    """One server for all of this: a start takes half a minute."""
    address = serving("-m", "rlvr", "serve", "--port", "0") if where == "elsewhere" else None
    base, folder = padded
    model = get_peft_model(
        base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    settings = settings_of(folder, lora_rank=4, server=address)
    engine = VllmEngine(SERVER, tokenizer, settings, self_check=True)
    plain = PlainEngine(tokenizer)
    seen = []
    for seed in range(3):
        ours, theirs = (answered(e, model, tokenizer) for e in (engine, plain))
        assert (ours.ids, ours.texts, ours.ended) == (theirs.ids, theirs.texts, theirs.ended)
        assert engine.syncs == seed + 1
        seen.append(ours.ids)
        stir(model, seed)
    assert seen[1] != seen[0]
    model.requires_grad_(False)  # as an adapter is that was loaded to be asked
    ours, theirs = (answered(e, model, tokenizer) for e in (engine, plain))
    assert ours.ids == theirs.ids != seen[-1]
    with model.disable_adapter():
        assert answered(engine, model, tokenizer).ids == seen[0]
    told = []
    ids = tokenizer(TEXTS)["input_ids"]
    hot = engine.sample(
        model, ids, Sampling(64, 2.0), StopRule(), [1, 2, 3], lambda *row: told.append(row)
    )
    assert max(token for row in hot.ids for token in row) < len(tokenizer)
    assert sorted(told) == list(enumerate(hot.texts))

    (child,) = serving.children() if address else [engine._core.process.pid]
    ended = "has closed the connection" if address else r"died with signal 9 "
    os.kill(int(child), signal.SIGKILL)
    with pytest.raises(UserError, match=rf"vllm_server: the server .*{ended}") as error:
        answered(engine, model, tokenizer)
    assert ("rlvr serve has printed" if address else "vllm.log") in str(error.value)
    waited(lambda: not is_there(child))
    waited(lambda: not list(serving.temporary.glob("rlvr-*")))


def test_a_server_that_cannot_start_is_one_message_and_is_gone(
    tokenizer, random_model, settings_of
):
    engine = VllmEngine(SERVER, tokenizer, settings_of("/nowhere"), self_check=False)
    with pytest.raises(UserError, match=r"vllm_server: the server failed.*nowhere"):
        answered(engine, random_model, tokenizer)
    assert engine._core is None


PARENT = """
import json, sys
from rlvr.sampling.vllm.server import OwnServer
from rlvr.sampling.vllm.settings import VllmSettings
OwnServer(VllmSettings(**json.loads(sys.argv[1])), None)
"""


def test_a_server_ends_with_a_parent_that_is_killed(saved_model, settings_of, waited):
    told = json.dumps(asdict(settings_of(saved_model)))
    parent = subprocess.Popen([sys.executable, "-c", PARENT, told], cwd=ROOT)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    try:
        server = waited(lambda: [int(pid) for pid in children.read_text().split()])[0]
        assert parent.poll() is None
        waited(lambda: "vllm.process" in Path(f"/proc/{server}/cmdline").read_text())
        time.sleep(5)  # in the middle of loading
        assert is_there(server)
    finally:
        parent.kill()
        parent.wait()
    waited(lambda: not is_there(server))
