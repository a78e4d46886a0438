"""What holds for every engine: a row depends on its own prompt and seed, and ends by one rule."""

import pytest
import torch

from rlvr.sampling.engine import Draw, Rows, Sampling, known_tokens
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.shared import SharedEngine
from rlvr.sampling.stop import StopRule

SAMPLED = Sampling(max_new_tokens=16, temperature=1.0)
TEXTS = ["Question: Ann has 3 apples.", "Question: Tom has 12 pears and 4 plums. How many?", "Hi"]
NEVER = StopRule()


@pytest.fixture(params=[PlainEngine, SharedEngine])
def engine(request, tokenizer):
    return request.param(tokenizer)


@pytest.fixture
def prompts(tokenizer):
    return tokenizer(TEXTS)["input_ids"]


def test_a_row_is_drawn_alike_whatever_is_sampled_beside_it(engine, random_model, prompts):
    together = engine.sample(random_model, prompts, SAMPLED, NEVER, [7, 8, 9]).ids
    turned = engine.sample(random_model, prompts[::-1], SAMPLED, NEVER, [9, 8, 7]).ids[::-1]
    alone = [
        engine.sample(random_model, [p], SAMPLED, NEVER, [s]).ids[0]
        for p, s in zip(prompts, [7, 8, 9], strict=True)
    ]
    assert together == turned == alone


def test_seeds_decide_and_the_global_state_does_not(engine, random_model, prompts):
    torch.manual_seed(1)
    first = engine.sample(random_model, prompts, SAMPLED, NEVER, [1, 2, 3])
    state = torch.random.get_rng_state()
    assert engine.sample(random_model, prompts, SAMPLED, NEVER, [1, 2, 3]) == first
    assert torch.equal(torch.random.get_rng_state(), state)
    other = engine.sample(random_model, prompts, SAMPLED, NEVER, [4, 5, 6])
    assert all(a != b for a, b in zip(first.ids, other.ids, strict=True))


def test_a_row_is_told_when_it_ends_with_the_text_that_is_returned(engine, random_model, prompts):
    """And nothing else changes. Rows that are cut off are told at the end."""
    stop, few = StopRule(("e", "t")), Sampling(max_new_tokens=6)
    told: list[tuple[int, str]] = []
    silent = engine.sample(random_model, prompts * 4, few, stop, range(12))
    sampled = engine.sample(
        random_model, prompts * 4, few, stop, range(12), lambda *row: told.append(row)
    )
    assert sampled == silent
    assert sorted(told) == list(enumerate(sampled.texts))
    lengths = [len(sampled.ids[row]) for row, _ in told]
    assert lengths == sorted(lengths)
    assert 1 < sampled.ended.count(True) < 12


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_ids_beyond_the_tokenizer_are_never_sampled(
    engine, random_model, tokenizer, prompts, temperature
):
    """Qwen2.5 has 271 such rows; here they are by far the likeliest."""
    known = random_model.get_input_embeddings().num_embeddings
    random_model.resize_token_embeddings(known + 271, mean_resizing=False)
    with torch.no_grad():
        random_model.get_input_embeddings().weight[known:] = 0
        random_model.lm_head = torch.nn.Linear(random_model.config.hidden_size, known + 271)
        random_model.lm_head.bias[known:] = 50.0
    sampling = Sampling(max_new_tokens=8, temperature=temperature)
    drawn = engine.sample(random_model, prompts, sampling, NEVER, [1, 2, 3])
    assert len(known_tokens(tokenizer)) == known
    assert all(token < known for row in drawn.ids for token in row)


def rows_of(tokenizer, prompt, stop, text):
    rows = Rows(tokenizer, [tokenizer(prompt)["input_ids"]], stop, [tokenizer.eos_token_id])
    for token in tokenizer(text)["input_ids"]:
        if rows.add(0, token):
            break
    return rows.finished()


STOP = StopRule(("\nQuestion:",), "####")


@pytest.mark.parametrize(
    ("prompt", "text", "cut"),
    [
        ("Question: 1?", " 2\n#### 2\nmore", " 2\n#### 2"),
        ("Question: 1?", "<think>a\n#### 2\nb\nQuestion: c", None),
        (
            "Question: 1?",
            "<think>a\n#### 2\n</think>\n#### 3\nx",
            "<think>a\n#### 2\n</think>\n#### 3",
        ),
        ("Question: 1?<think>", "a\n#### 2\nb\nQuestion: c", None),
        (
            "Question: 1?<think>",
            "a\nQuestion: b</think>\n#### 3\nx",
            "a\nQuestion: b</think>\n#### 3",
        ),
        ("<think>x</think> Question: 1?", "a\nQuestion: b", "a"),
    ],
)
def test_nothing_ends_inside_a_thought(tokenizer, prompt, text, cut):
    done = rows_of(tokenizer, prompt, STOP, text)
    assert done.ended == [cut is not None]
    assert done.texts == [text if cut is None else cut]


def test_an_ended_row_takes_no_more(tokenizer):
    rows = Rows(tokenizer, [[5]], NEVER, [3])
    assert [rows.add(0, token) for token in (7, 3, 8)] == [False, True, True]
    assert rows.finished().ids == [[7, 3]]


def test_draws_follow_the_scores():
    scores = torch.tensor([0.5, 0.3, 0.2]).log().expand(3000, 3)
    draw = Draw(Sampling(1), range(3000))
    counts = torch.bincount(draw(scores, torch.arange(3000), 0), minlength=3) / 3000
    torch.testing.assert_close(counts, torch.tensor([0.5, 0.3, 0.2]), atol=0.03, rtol=0)
    impossible = torch.tensor([[0.0, float("-inf")]] * 3000)
    assert not draw(impossible, torch.arange(3000), 0).any()
