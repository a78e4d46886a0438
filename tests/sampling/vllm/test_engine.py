"""vLLM in this process against transformers' own `generate`: texts, stops, verdicts, weights."""

import random

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.data.load import load_splits
from rlvr.errors import UserError
from rlvr.paths import ASSETS
from rlvr.sampling.engine import Sampling
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.stop import StopRule
from rlvr.sampling.vllm.engine import COLOCATE, VllmEngine
from rlvr.sampling.vllm.settings import VllmSettings
from rlvr.verify.build import build_verifier

pytestmark = [pytest.mark.usefixtures("vllm"), pytest.mark.timeout(900)]

TINY = ASSETS / "tiny"
GREEDY = Sampling(max_new_tokens=64, temperature=0)
TEXTS = ["Question: Ann has 3 apples.", "Question: Tom has 12 pears and 4 plums. How many?", "Hi"]
CHARACTERS = StopRule(tuple("0123456789"), "####")


@pytest.fixture(scope="module")
def embedded():
    return AutoTokenizer.from_pretrained(TINY, padding_side="left")


@pytest.fixture
def model():
    return AutoModelForCausalLM.from_pretrained(TINY).eval()


@pytest.fixture(scope="module")
def engine(vllm, embedded, tmp_path_factory):
    log = str(tmp_path_factory.mktemp("vllm") / "log")
    settings = VllmSettings(str(TINY), None, False, "float32", 1024, 0, 0.3, log)
    made = VllmEngine(COLOCATE, embedded, settings, self_check=True)
    yield made
    made.close()


def answered(engine, model, tokenizer, texts, sampling=GREEDY, stop=CHARACTERS, seeds=None):
    ids = tokenizer(list(texts))["input_ids"]
    return engine.sample(model, ids, sampling, stop, seeds or range(len(ids)))


def test_starting_leaves_the_random_numbers_of_this_process_alone(engine, model, embedded):
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    answered(engine, model, embedded, TEXTS)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize("shots", [0, 2, 8])
def test_greedy_texts_stops_verdicts_and_cut_rows_are_those_of_transformers(
    engine, model, embedded, compose_config, shots
):
    cfg = compose_config("model=tiny", "dataset=word_problems", f"shots={shots}", "tracking=none")
    splits = load_splits(cfg.dataset, seed=1, verifier=build_verifier(cfg.dataset))
    asked = splits.train.select(range(200))
    ours = answered(engine, model, embedded, asked["prompt"], stop=splits.stop)
    plain = PlainEngine(embedded)
    theirs = answered(plain, model, embedded, asked["prompt"], stop=splits.stop)
    assert ours.ids == theirs.ids
    assert ours.texts == theirs.texts
    assert ours.ended == theirs.ended
    verdicts = [splits.verifier.verify(d.texts, asked["gold"]) for d in (ours, theirs)]
    assert verdicts[0] == verdicts[1]


def test_log_probabilities_are_the_trainers(engine, model, embedded):
    drawn = answered(engine, model, embedded, TEXTS, Sampling(32, temperature=0.7), StopRule())
    for text, ids, scores in zip(TEXTS, drawn.ids, drawn.log_probs, strict=True):
        prompt = embedded(text)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1] / 0.7
        theirs = logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
        assert torch.allclose(torch.tensor(scores), theirs, atol=1e-4)


def test_changed_weights_are_handed_over_once(engine, model, embedded):
    before = answered(engine, model, embedded, TEXTS, stop=StopRule())
    syncs = engine.syncs
    answered(engine, model, embedded, TEXTS, stop=StopRule())
    assert engine.syncs == syncs
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * weight.std() * torch.randn_like(weight))
    after = answered(engine, model, embedded, TEXTS, stop=StopRule())
    assert engine.syncs == syncs + 1
    assert after.ids == answered(PlainEngine(embedded), model, embedded, TEXTS, stop=StopRule()).ids
    assert after.ids != before.ids


def test_a_prompt_that_opens_a_thought_is_not_stopped_within(engine, model, embedded):
    texts = [f"{text}<think>" for text in TEXTS]
    ours = answered(engine, model, embedded, texts)
    assert ours.ids == answered(PlainEngine(embedded), model, embedded, texts).ids
    stopped = answered(engine, model, embedded, TEXTS)
    assert [len(ids) for ids in ours.ids] != [len(ids) for ids in stopped.ids]


def test_a_row_is_its_seeds_alone(engine, model, embedded):
    sampling = Sampling(24, temperature=1.5)
    drawn = answered(engine, model, embedded, TEXTS, sampling, StopRule(), [5, 2**63 + 7, 9])
    turned = answered(engine, model, embedded, TEXTS[::-1], sampling, StopRule(), [9, 2**63 + 7, 5])
    other = answered(engine, model, embedded, TEXTS, sampling, StopRule(), [6, 8, 10])
    assert drawn.ids == turned.ids[::-1]
    assert drawn.ids != other.ids


def test_prompts_that_fill_more_than_a_step_are_drawn_as_alone(engine, model, embedded):
    """A prompt that is computed in parts draws a number too many, which is taken back."""
    long = [f"{TEXTS[0] * 40}{i}" for i in range(12)]
    assert sum(map(len, embedded(long)["input_ids"])) > 4096
    hot = Sampling(4, temperature=1.5)
    drawn = answered(engine, model, embedded, long, hot, StopRule())
    last = answered(engine, model, embedded, long[-1:], hot, StopRule(), [11])
    assert drawn.ids[-1:] == last.ids


def test_each_row_is_told_once(engine, model, embedded):
    told = []
    ids = embedded(TEXTS)["input_ids"]
    sampling = Sampling(24, temperature=1.0)
    drawn = engine.sample(
        model, ids, sampling, CHARACTERS, [1, 2, 3], lambda row, text: told.append((row, text))
    )
    assert sorted(told) == list(enumerate(drawn.texts))


def test_the_next_call_does_not_meet_the_rows_of_one_that_was_interrupted(engine, model, embedded):
    def interrupt(row, text):
        raise KeyboardInterrupt

    ids = embedded(TEXTS)["input_ids"]
    with pytest.raises(KeyboardInterrupt):
        engine.sample(model, ids, GREEDY, CHARACTERS, [0] * 3, interrupt)
    again = answered(engine, model, embedded, TEXTS)
    assert again.ids == answered(PlainEngine(embedded), model, embedded, TEXTS).ids


@pytest.mark.parametrize(
    "sampling",
    [Sampling(24, 0.7, top_p=0.8), Sampling(24, top_k=5), Sampling(24, repetition_penalty=1.3)],
    ids=["top_p", "top_k", "repetition_penalty"],
)
def test_settings_mean_what_they_mean_to_the_other_engines(engine, model, embedded, sampling):
    from rlvr.sampling.vllm.parity import measure

    drawn = answered(engine, model, embedded, TEXTS, sampling, StopRule())
    with torch.no_grad():
        found = measure(model, embedded, embedded(TEXTS)["input_ids"], drawn, sampling)
    assert found.tokens > 20
    assert found.engine < 1e-4


def test_the_first_batch_was_compared_with_the_trainers_model(engine, model, embedded):
    answered(engine, model, embedded, TEXTS)
    assert engine.parity.holds
    assert engine.parity.engine < 1e-4


def test_what_is_too_long_is_refused_by_the_keys_name(engine, model, embedded):
    with pytest.raises(UserError, match=r"trainer\.vllm\.max_model_len=1024"):
        answered(engine, model, embedded, TEXTS, Sampling(1024, temperature=0))


def test_weights_of_another_model_do_not_pass(vllm, embedded, model, random_model, settings_of):
    """What the engine would say of a trainer that computes something else."""
    from rlvr.sampling.vllm.parity import measure

    prompts = embedded(TEXTS)["input_ids"]
    drawn = answered(PlainEngine(embedded), model, embedded, TEXTS)
    scored = [[-0.5] * len(ids) for ids in drawn.ids]
    drawn = type(drawn)(drawn.ids, drawn.texts, drawn.ended, scored)
    with torch.no_grad(), pytest.raises(UserError, match=r"trainer\.generation=shared"):
        measure(random_model, embedded, prompts, drawn, GREEDY).require()
