"""The sampler on a random model: equal to stock `generate`, and stopped by the rule, row by row."""

import pytest

from rlvr.sampling.engine import Sampling
from rlvr.sampling.plain import PlainEngine, pad_left
from rlvr.sampling.stop import StopRule

GREEDY = Sampling(max_new_tokens=24, temperature=0)
TEXTS = ["Question: Ann has 3 apples.", "Question: Tom has 12 pears and 4 plums. How many?", "Hi"]


@pytest.fixture
def prompts(tokenizer):
    return tokenizer(TEXTS)["input_ids"]


def generate(model, tokenizer, prompts, sampling, stop):
    return PlainEngine(tokenizer).sample(model, prompts, sampling, stop, range(len(prompts)))


def stock(model, tokenizer, prompts, **options):
    ids, mask = pad_left(prompts, tokenizer.pad_token_id)
    output = model.generate(ids, attention_mask=mask, max_new_tokens=24, **options)
    return output[:, ids.shape[1] :].tolist()


def without_padding(rows, tokenizer):
    return [[token for token in row if token != tokenizer.pad_token_id] for row in rows]


def test_greedy_is_stock_greedy(random_model, tokenizer, prompts):
    ours = generate(random_model, tokenizer, prompts, GREEDY, StopRule())
    theirs = stock(random_model, tokenizer, prompts, do_sample=False)
    assert ours.ids == without_padding(theirs, tokenizer)


def test_the_models_own_generation_settings_do_not_leak_in(random_model, tokenizer, prompts):
    before = generate(random_model, tokenizer, prompts, GREEDY, StopRule())
    random_model.generation_config.repetition_penalty = 5.0
    random_model.generation_config.max_new_tokens = 3
    random_model.generation_config.no_repeat_ngram_size = 1
    assert generate(random_model, tokenizer, prompts, GREEDY, StopRule()) == before


def test_a_stop_ends_its_row_alone(random_model, tokenizer, prompts):
    free = generate(random_model, tokenizer, prompts, GREEDY, StopRule())
    text = tokenizer.decode(free.ids[0])
    stop = StopRule((text[len(text) // 2 :][:3],))
    stopped = generate(random_model, tokenizer, prompts, GREEDY, stop)
    for row, (ids, ended) in enumerate(zip(stopped.ids, stopped.ended, strict=True)):
        where = stop.find(tokenizer.decode(free.ids[row]))
        assert ids == free.ids[row][: len(ids)]
        assert ended == (where is not None)
        if ended:
            assert stop.find(tokenizer.decode(ids)) == where
            assert stop.find(tokenizer.decode(ids[:-1])) is None
            assert stopped.texts[row] == tokenizer.decode(free.ids[row])[:where]
        else:
            assert ids == free.ids[row]
    assert stopped.ended[0]


def test_every_declared_end_of_sequence_ends_a_row(random_model, tokenizer, prompts):
    free = generate(random_model, tokenizer, prompts, GREEDY, StopRule())
    random_model.generation_config.eos_token_id = [tokenizer.eos_token_id, free.ids[0][4]]
    ended = generate(random_model, tokenizer, prompts, GREEDY, StopRule())
    first = free.ids[0].index(free.ids[0][4]) + 1
    assert ended.ids[0] == free.ids[0][:first]
    assert ended.ended[0]
