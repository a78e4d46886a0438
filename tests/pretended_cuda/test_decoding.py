"""Decoding on CUDA: the CPU's ids, fewer kernels a token than stock, and no token is waited for."""

import json
import logging
from collections import Counter
from contextlib import nullcontext
from functools import partial

import pytest
import torch

from pretended_cuda import graphs
from pretended_cuda.fused import fused_attention
from rlvr.sampling.choose import CLEARLY, EngineChoice, engine_for, fastest, undecided
from rlvr.sampling.engine import Draw, Sampling
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.shared import SharedEngine
from rlvr.sampling.stop import StopRule

pytestmark = pytest.mark.filterwarnings("ignore")
NEVER = StopRule()
ENDLESS = {"vocab_size": 95, "eos_token_id": None}  # no token of the model's is an EOS
GREEDY, SAMPLED = Sampling(40, temperature=0), Sampling(40)


@pytest.fixture
def cuda(cuda):
    with fused_attention():
        yield cuda


@pytest.fixture
def build(harness, tmp_path):
    """The same random model, wherever it is moved to."""
    return lambda device, **settings: (
        harness.tiny_model(tmp_path, **settings).to(torch.bfloat16).to(device).eval()
    )


@pytest.fixture
def endless(harness):
    """A tokenizer whose EOS is beyond such a model: rows go on to the last token."""
    tokenizer = harness.tokenizer()
    tokenizer.eos_token = "95"
    return tokenizer


@pytest.fixture
def asked(harness):
    return [prompt for prompt, _ in harness.few_shot(shots=2)]


def drawn(engine, model, prompts, sampling, stop=NEVER):
    return engine.sample(model, prompts, sampling, stop, range(len(prompts)))


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, Sampling(40, 0.8, 0.9, 7, 0.05, 1.2)])
@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_replayed_steps_give_the_ids_of_the_cpu(
    cuda, harness, tmp_path, asked, caplog, sampling, family
):
    """In float32. Sampled rows end at different times: the batch is halved, and captured anew."""
    tokenizer, made = harness.tokenizer(), []
    asked = [prompt[i % 3 :] for i, prompt in enumerate(asked)]
    stop = StopRule((" 7 ", " 23 "))
    for device in ("cpu", "cuda"):
        model = harness.tiny_model(tmp_path, family).to(device).eval()
        model.generation_config.eos_token_id = [1, 92, 93, 94]
        made.append(drawn(SharedEngine(tokenizer), model, asked, sampling, stop))
    assert made[0] == made[1]
    if sampling is SAMPLED:
        assert made[0].ended.count(True) >= len(asked) // 2
    replays = sum(n for (what, _), n in cuda.kernels.items() if what == "replay")
    assert replays
    assert "without CUDA graphs" not in caplog.text


def a_token(cuda, sample):
    """(kernels, waits, copies) of a token by line, from the difference of two lengths: what a batch
    costs once is left out."""
    counted = []
    for length in (6, 10):
        cuda.clear()
        sample(length)
        counted.append([by_line(calls) for calls in (cuda.kernels, cuda.waits, cuda.copies)])
    return [
        Counter({line: (n - few[line]) / 4 for line, n in many.items() if n != few[line]})
        for few, many in zip(*counted, strict=True)
    ]


def by_line(calls):
    found = Counter()
    for (_, line), n in calls.items():
        found[line] += n
    return found


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_fewer_kernels_than_stock_and_no_waits(cuda, endless, build, asked, sampling):
    """In bfloat16, step by step. A wait or a CPU tensor that somebody adds to a step shows here."""
    layers = {1: [], 3: []}
    ids = torch.tensor([[5, 6, 7, 8]] * len(asked), device="cuda")
    options = {"do_sample": sampling is SAMPLED, "top_k": 0, "eos_token_id": 999}
    for count, found in layers.items():
        model = build("cuda", num_hidden_layers=count, **ENDLESS)
        engine = SharedEngine(endless, self_check=False)
        engine.recorder.works = False

        def ours(length, engine=engine, model=model):
            drawn(engine, model, asked, Sampling(length, sampling.temperature))

        def stock(length, model=model):
            with torch.no_grad():
                mask = torch.ones_like(ids)
                model.generate(ids, attention_mask=mask, max_new_tokens=length, **options)

        found += [a_token(cuda, ours), a_token(cuda, stock)]
    (ours, _), (ours3, stock3) = layers[1], layers[3]
    assert not ours3[1], "a step waits"
    assert not ours3[2], "a step copies from pageable memory"
    assert ours3[0].total() < stock3[0].total()
    assert (ours3[0].total() - ours[0].total()) / 2 <= 46, "kernels of a layer"


def test_a_replayed_token_is_one_launch(cuda, endless, build, asked):
    engine, model = SharedEngine(endless, self_check=False), build("cuda", **ENDLESS)
    totals = []
    for length in (30, 40):
        cuda.clear()
        drawn(engine, model, asked[:1], Sampling(length))
        totals.append(cuda.kernels.total())
    assert totals[1] - totals[0] == 10


@pytest.mark.parametrize("expand", [True, False])
def test_a_batch_makes_no_hidden_copies(cuda, harness, build, asked, expand):
    drawn(SharedEngine(harness.tokenizer(), False, expand), build("cuda"), asked, SAMPLED)
    assert not [what for what, _ in cuda.copies if "hidden" in what], cuda.copies


def test_the_cascade_waits_once_a_token_and_copies_nothing(cuda, endless, build, asked):
    engine, model = SharedEngine(endless, False, expand=False), build("cuda", **ENDLESS)
    waits, copies = a_token(cuda, lambda n: drawn(engine, model, asked[:1], Sampling(n)))[1:]
    assert waits.total() == 1
    assert not copies


def test_the_plain_engine_copies_the_endings_alone(cuda, endless, build, asked):
    engine, model = PlainEngine(endless), build("cuda", **ENDLESS)
    copies = a_token(cuda, lambda n: drawn(engine, model, asked[:1], Sampling(n)))[2]
    assert copies.total() == 1
    assert "plain.py" in next(iter(copies))


def test_the_cascade_where_the_keys_do_not_fit(cuda, harness, build, asked, monkeypatch):
    model, tokenizer = build("cuda"), harness.tokenizer()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (4096, 80 << 30))
    drawn(SharedEngine(tokenizer, self_check=False), model, asked, Sampling(4))
    assert any("cascade.py" in line for _, line in cuda.kernels)
    assert not any("expanded.py" in line for _, line in cuda.kernels)


def test_a_step_that_waits_is_not_captured(cuda, harness, build, asked, monkeypatch, caplog):
    """It is asked first; the row goes on as if nothing had been tried."""
    model, tokenizer, own = build("cuda"), harness.tokenizer(), Draw.__call__
    expected = drawn(SharedEngine(tokenizer, self_check=False), model, asked, SAMPLED)

    def waiting(self, scores, rows, step):
        scores.sum().item()
        return own(self, scores, rows, step)

    monkeypatch.setattr(Draw, "__call__", waiting)
    engine = SharedEngine(tokenizer, self_check=False)
    with caplog.at_level(logging.WARNING):
        assert drawn(engine, model, asked, SAMPLED) == expected
    assert "without CUDA graphs: called a synchronizing CUDA operation" in caplog.text
    assert not engine.recorder.works


def test_a_capture_that_fails_leaves_the_random_state_usable(
    cuda, harness, build, asked, monkeypatch, caplog
):
    """What only a capture refuses; and then a graph that is none of the step's."""
    model, tokenizer, own = build("cuda"), harness.tokenizer(), graphs.Graph.capture
    expected = drawn(SharedEngine(tokenizer, self_check=False), model, asked, SAMPLED)

    def refusing(self, kernel, in_place):
        raise RuntimeError("operation not permitted when stream is capturing")

    def forgetting(self, kernel, in_place):
        return None if in_place else own(self, kernel, in_place)

    for broken, message in ((refusing, "not permitted"), (forgetting, "a replay differs by")):
        caplog.clear()
        monkeypatch.setattr(graphs.Graph, "capture", broken)
        engine = SharedEngine(tokenizer, self_check=False)
        assert drawn(engine, model, asked, SAMPLED) == expected
        assert message in caplog.text
        assert not graphs.GENERATOR.capturing
        assert not engine.recorder.works


def test_auto_measures_the_plain_engine_beside_the_shared_one(
    cuda, harness, build, asked, tmp_path
):
    """And keeps what it has found. Here launches cost nothing, so either may be the faster one."""
    model, tokenizer = build("cuda"), harness.tokenizer()
    usual = SharedEngine(tokenizer, self_check=False)
    auto = EngineChoice(records=(tmp_path / "generation.json",))
    assert undecided(auto, usual, model.device)
    lend = partial(nullcontext, model)
    engine = fastest(auto, usual, tokenizer, lend, asked, Sampling(4))
    found = json.loads(auto.records[0].read_text())
    speeds = found["tokens_per_second"]
    assert speeds.keys() == {"shared", "plain"}
    assert engine.name == found["chosen"]
    assert (engine.name == "plain") == (speeds["plain"] > CLEARLY * speeds["shared"])
    assert not undecided(auto, usual, model.device)
    for chosen in ("plain", "shared"):
        auto.write({"chosen": chosen})
        assert engine_for(auto, model, tokenizer, prefix_cache=True).name == chosen
