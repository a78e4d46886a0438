"""Guesses from what a row has said change no text; draws need a GPU (ONLY_GREEDY_ON_CPU)."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.data.load import load_splits
from rlvr.errors import UserError
from rlvr.paths import ASSETS
from rlvr.sampling.engine import Sampling
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.vllm.engine import COLOCATE, VllmEngine
from rlvr.sampling.vllm.parity import measure
from rlvr.verify.build import build_verifier

pytestmark = [pytest.mark.usefixtures("vllm"), pytest.mark.timeout(900)]


def test_guesses_change_no_greedy_text_and_no_stop(compose_config, settings_of, tmp_path):
    """With a padded vocabulary, of which vLLM takes another description than without guesses."""
    tokenizer = AutoTokenizer.from_pretrained(ASSETS / "tiny", padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(ASSETS / "tiny").eval()
    model.resize_token_embeddings(len(tokenizer) + 26)
    for saved in (model, tokenizer):
        saved.save_pretrained(tmp_path)
    cfg = compose_config("model=tiny", "dataset=word_problems", "shots=2", "tracking=none")
    splits = load_splits(cfg.dataset, seed=1, verifier=build_verifier(cfg.dataset))
    prompts = tokenizer(list(splits.train.select(range(50))["prompt"]))["input_ids"]
    engine = VllmEngine(COLOCATE, tokenizer, settings_of(tmp_path, guesses=4), self_check=True)

    greedy = Sampling(64, temperature=0)
    ours, theirs = (
        each.sample(model, prompts, greedy, splits.stop, range(50))
        for each in (engine, PlainEngine(tokenizer))
    )
    assert (ours.ids, ours.texts, ours.ended) == (theirs.ids, theirs.texts, theirs.ended)
    with torch.no_grad():
        assert measure(model, tokenizer, prompts, ours, greedy).engine < 1e-4
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match=r"trainer\.vllm\.speculation: .*greedily"):
            engine.sample(model, prompts, Sampling(64), splits.stop, range(50))
    engine.close()
