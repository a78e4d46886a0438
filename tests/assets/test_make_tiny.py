import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

from rlvr.assets import make_tiny
from rlvr.data.exemplars import load_exemplars
from rlvr.data.prompts import PromptBuilder, PromptTemplate
from rlvr.data.sources import word_problems
from rlvr.sampling.engine import Sampling
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.stop import StopRule
from rlvr.verify.numeric import NumericVerifier

TEMPLATE = PromptTemplate()
STOP = StopRule(("\nQuestion:",), TEMPLATE.answer_prefix)
ASCII = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")) | st.just("\n"))


@pytest.fixture(scope="module")
def shipped():
    return AutoTokenizer.from_pretrained(make_tiny.DIRECTORY)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(make_tiny.DIRECTORY).eval()


def builder(shots: int) -> PromptBuilder:
    return PromptBuilder(TEMPLATE, load_exemplars("package:word_problems", shots))


def test_every_file_is_small_and_the_model_has_the_advertised_size(model):
    sizes = {path.name: path.stat().st_size for path in make_tiny.DIRECTORY.iterdir()}
    assert sizes["model.safetensors"] < 2_000_000
    assert sum(sizes.values()) < 2_100_000
    assert 250_000 < model.num_parameters() < 450_000


# ---- tokenizer -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_the_code_builds_the_shipped_tokenizer(tmp_path, name):
    make_tiny.build_tokenizer().save_pretrained(tmp_path)
    built, there = (json.loads(Path(d, name).read_text()) for d in (tmp_path, make_tiny.DIRECTORY))
    assert built == there


def test_the_code_builds_the_shipped_config(shipped, model):
    built = make_tiny.build_config(shipped).to_dict()
    there = model.config.to_dict()
    loaded = {"architectures", "dtype", "_name_or_path", "transformers_version"}
    assert {k: v for k, v in built.items() if k not in loaded} == {
        k: v for k, v in there.items() if k not in loaded
    }


@given(ASCII)
@settings(deadline=None)
def test_ascii_survives_a_round_trip(shipped, text):
    ids = shipped(text).input_ids
    assert shipped.decode(ids) == text
    assert shipped.decode(ids, skip_special_tokens=True) == text


@given(st.lists(st.sampled_from([*make_tiny.pieces(), "1", "23", " ", "x", "é"])).map("".join))
@settings(deadline=None)
def test_pieces_in_any_order_survive_a_round_trip(shipped, text):
    assert shipped.decode(shipped(text).input_ids, skip_special_tokens=True) == text


@given(st.text())
@settings(deadline=None)
def test_any_text_has_tokens(shipped, text):
    ids = shipped(text).input_ids
    assert all(0 <= i < len(shipped) for i in ids)
    assert bool(ids) == bool(text)
    assert isinstance(shipped.decode(ids), str)


def test_digits_stand_alone_and_fixed_strings_are_one_token(shipped):
    assert shipped.convert_ids_to_tokens(shipped("1205").input_ids) == list("1205")
    for text in (make_tiny.ASK, make_tiny.ANSWER, TEMPLATE.separator, " + ", " does "):
        assert len(shipped(text).input_ids) == 1, text


def test_padding_and_end_are_distinct_and_the_only_special_tokens(shipped):
    assert shipped.pad_token_id != shipped.eos_token_id
    assert set(shipped.all_special_tokens) == {make_tiny.PAD, make_tiny.END}
    assert shipped.padding_side == "left"


@pytest.mark.parametrize(("shots", "most"), [(0, 30), (2, 95), (4, 160), (8, 330)])
def test_prompts_are_short(shipped, shots, most):
    rows = word_problems.load(path=None, seed=0)["test"]
    prompts = [builder(shots)(row["question"]) for row in rows]
    assert max(len(ids) for ids in shipped(prompts).input_ids) <= most


# ---- what it was trained on ----------------------------------------------------------------------


def test_training_documents_leave_out_every_test_question():
    seen = {p.question for p, _ in zip(make_tiny.problems(1), range(2000), strict=False)}
    tested = {row["question"] for row in word_problems.load(path=None, seed=1)["test"]}
    assert not seen & tested


@pytest.mark.parametrize(("last_only", "expected"), [(False, "all"), (True, "last")])
def test_labels_are_the_completions_and_always_the_end_token_after_them(
    shipped, last_only, expected
):
    first, second = load_exemplars("package:word_problems", 2)
    completions = [TEMPLATE.solve(e.solution, e.answer) + make_tiny.END for e in (first, second)]
    text = PromptBuilder(TEMPLATE, [first])(second.question) + completions[1]
    ids = shipped([text, text + make_tiny.PAD], padding=True, padding_side="right",
                  return_tensors="pt").input_ids  # fmt: skip
    labels = make_tiny.completion_labels(ids, shipped, last_only=last_only)
    wanted = "".join(completions) if expected == "all" else completions[1]
    assert [shipped.decode(row[row != -100]) for row in labels] == [wanted, wanted]


# ---- what it can do ------------------------------------------------------------------------------


def accuracy(model, tokenizer, shots: int, temperature: float) -> float:
    """Share of 64 held-out problems, through the sampler and verifier that runs use."""
    rows = word_problems.load(path=None, seed=11)["test"][:64]
    prompts = tokenizer([builder(shots)(row["question"]) for row in rows]).input_ids
    set_seed(0)
    engine, seeds = PlainEngine(tokenizer), range(len(prompts))
    drawn = engine.sample(model, prompts, Sampling(48, temperature), STOP, seeds)
    assert all(drawn.ended)
    verdicts = NumericVerifier().verify(drawn.texts, [row["gold"] for row in rows])
    return sum(verdict.correct for verdict in verdicts) / len(rows)


@pytest.mark.parametrize("shots", [0, 2, 4, 8])
def test_it_knows_more_than_it_samples(model, shipped, shots):
    greedy, sampled = (accuracy(model, shipped, shots, t) for t in (0.0, 1.0))
    assert greedy > 0.8
    assert 0.15 < sampled < 0.6


def test_a_plain_sampler_without_the_stop_rule_ends_too(model, shipped):
    question = "Anna has 4 pens. She buys 3 more. How many pens does Anna have now?"
    prompt = shipped(builder(2)(question), return_tensors="pt")
    with torch.no_grad():
        out = model.generate(**prompt, max_new_tokens=48, do_sample=False)[0]
    assert out[-1] == shipped.eos_token_id
    assert out.tolist().count(shipped.eos_token_id) == 1


def test_lora_fits_all_linear_layers(model, shipped):
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(make_tiny.DIRECTORY), lora)
    ids = shipped("Question: Anna has 4 pens.", return_tensors="pt").input_ids
    adapted(input_ids=ids, labels=ids).loss.backward()
    trained = [p for p in adapted.parameters() if p.requires_grad]
    assert len(trained) == 2 * 7 * model.config.num_hidden_layers
    assert all(p.grad is not None for p in trained)
