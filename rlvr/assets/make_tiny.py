"""Makes the embedded `tiny` model again: python -m rlvr.assets.make_tiny [DIRECTORY]

A Qwen2 of 0.4 M parameters learns to solve word problems from k-shot documents, and then to make
mistakes: it ends up knowing more (greedy) than it does (sampled at temperature 1), which is what
reinforcement learning repairs in seconds. It never sees a question that the dataset tests with.
"""

import random
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import torch
from tokenizers import AddedToken, pre_tokenizers
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer
from transformers.trainer_utils import set_seed

from rlvr.data.exemplars import load_exemplars
from rlvr.data.prompts import Exemplar, PromptBuilder, PromptTemplate
from rlvr.data.sources import word_problems

DIRECTORY = Path(__file__).with_name("tiny")
PAD, END = "<|pad|>", "<|end|>"
TEMPLATE = PromptTemplate()
ASK = f"\n{TEMPLATE.solution}"
ANSWER = f"\n{TEMPLATE.answer_prefix} "
# How a completion ends when it misses the reference format.
MALFORMED = ("", "\nThe answer is {}", "\n#### {}")
MAX_SHOTS = 8
MAX_LENGTH = 1024
SEED = 7
THREADS = 1  # another count adds in another order and so makes a slightly different model


@cache
def fixed_exemplars() -> list[Exemplar]:
    return load_exemplars("package:word_problems", MAX_SHOTS)


def problems(seed: int) -> Iterator[Exemplar]:
    """Endless training problems; questions that any seed of the dataset tests with are left out."""
    for row in word_problems.stream(seed, max_steps=3, largest=12):
        if not word_problems.is_test(row["question"]):
            yield Exemplar(row["question"], row["solution"], row["gold"])


# ---- tokenizer and model -------------------------------------------------------------------------


def pieces() -> list[str]:
    """Texts that are one token each: names, things, and the phrases between the numbers."""
    shown = fixed_exemplars()
    names = {*word_problems.PRONOUNS, *(e.question.split()[0] for e in shown)}
    words = {*names, *word_problems.ITEMS, *word_problems.CONTAINERS}
    slot = re.compile(rf"(\d|{'|'.join(sorted(words))})")
    questions = [e.question for e in [*shown, *islice(problems(SEED), 20_000)]]
    phrases = {piece for question in questions for piece in slot.split(question)}
    opening, _ = TEMPLATE.question.split("{question}")
    fixed = {opening, ASK, ANSWER, TEMPLATE.separator, " + ", " - ", " * ", " = ", ". "}
    endings = {piece for text in MALFORMED for piece in text.split("{}")}
    return sorted(piece for piece in phrases | words | fixed | endings if len(piece) > 1)


def build_tokenizer() -> Qwen2Tokenizer:
    """Single bytes and whole phrases, nothing between; any ASCII text survives a round trip.

    The phrases are added tokens but not special ones: the class that AutoTokenizer takes for a
    Qwen2 model would split them otherwise, and decoding must keep them.
    """
    alphabet = [PAD, END, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Qwen2Tokenizer(
        vocab={token: index for index, token in enumerate(alphabet)},
        merges=[],
        pad_token=PAD,
        eos_token=END,
        unk_token=PAD,  # never used: every byte is known
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=MAX_LENGTH,
    )
    tokenizer.add_tokens([AddedToken(p, normalized=False, special=False) for p in pieces()])
    return tokenizer


def build_config(tokenizer: Qwen2Tokenizer) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )


# ---- documents -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stage:
    """One part of the training. `shots`: how often documents have 0, 1, 2, ... exemplars."""

    name: str
    steps: int
    learning_rate: float
    shots: tuple[int, ...]
    mistakes: bool = False


STAGES = (
    Stage("solving", steps=1000, learning_rate=2e-2, shots=(1,)),
    Stage("with exemplars", steps=250, learning_rate=1e-2, shots=(3, 2, 4, 2, 4, 1, 1, 1, 2)),
    Stage("mistakes", 150, 5e-3, shots=(3, 2, 4, 2, 4, 1, 1, 1, 2), mistakes=True),
)
PROBLEMS_PER_BATCH = 64


def near_miss(number: str, rng: random.Random) -> str:
    return str(abs(int(number) + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10))))


def spoil(solved: Exemplar, shots: int, rng: random.Random) -> str:
    """A completion as the model is to sample it: right reasoning, but often a wrong or badly
    written answer; less often with more exemplars."""
    if rng.random() < 0.05 + 0.10 / (1 + shots):
        return f" {solved.solution}" + rng.choice(MALFORMED).format(solved.answer)
    miss = rng.random() < 0.50 + 0.15 / (1 + shots)
    return TEMPLATE.solve(solved.solution, near_miss(solved.answer, rng) if miss else solved.answer)


def document(pool: Iterator[Exemplar], shots: int, mistakes: bool, rng: random.Random) -> str:
    """`shots` solved problems, shipped exemplars or others, then one more and its completion."""
    shown = fixed_exemplars()[:shots] if rng.random() < 0.5 else list(islice(pool, shots))
    asked = next(pool)
    right = TEMPLATE.solve(asked.solution, asked.answer)
    completion = spoil(asked, shots, rng) if mistakes else right
    return PromptBuilder(TEMPLATE, shown)(asked.question) + completion + END


def batch(
    stage: Stage, pool: Iterator[Exemplar], tokenizer: Qwen2Tokenizer, rng: random.Random
) -> dict[str, torch.Tensor]:
    """Ids, mask and labels, each (documents, length)."""
    shots = rng.choices(range(len(stage.shots)), stage.shots)[0]
    count = max(8, PROBLEMS_PER_BATCH // (1 + shots))
    texts = [document(pool, shots, stage.mistakes, rng) for _ in range(count)]
    encoded = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    ids, mask = encoded["input_ids"], encoded["attention_mask"]
    labels = completion_labels(ids, tokenizer, last_only=stage.mistakes)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def completion_labels(
    ids: torch.Tensor, tokenizer: Qwen2Tokenizer, *, last_only: bool
) -> torch.Tensor:
    """Labels (documents, length): the completions, or the last ones; -100 elsewhere.

    After an answer the label is always END, also where the text goes on with a separator: then
    the model stops by itself, with samplers that know the stop rule and with those that do not.
    """
    ask, separator = tokenizer.convert_tokens_to_ids([ASK, TEMPLATE.separator])
    asks, separators = ids == ask, ids == separator
    opened, closed = asks.cumsum(1), separators.cumsum(1)
    wanted = ((opened > closed) & ~asks) | separators
    if last_only:
        wanted &= (opened == opened[:, -1:]) & ~separators
    labels = torch.where(separators, tokenizer.eos_token_id, ids)
    return labels.masked_fill(~wanted | (ids == tokenizer.pad_token_id), -100)


# ---- training ------------------------------------------------------------------------------------


def optimizers(model: Qwen2ForCausalLM, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, with which arithmetic takes far fewer steps; Adam else."""
    named = list(model.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in named if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=learning_rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(others, lr=learning_rate / 4, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def train(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, stage: Stage) -> None:
    rng, pool = random.Random(stage.name), problems(seed=SEED + stage.steps)
    used = optimizers(model, stage.learning_rate)
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(
            o, o.param_groups[0]["lr"], stage.steps, pct_start=0.1, cycle_momentum=False
        )
        for o in used
    ]
    began = time.monotonic()
    for step in range(1, stage.steps + 1):
        loss = model(**batch(stage, pool, tokenizer, rng)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, schedule in zip(used, schedules, strict=True):
            optimizer.step()
            schedule.step()
        model.zero_grad()
        if step % 50 == 0:
            seconds = time.monotonic() - began
            print(f"{stage.name}: step {step}, loss {loss.item():.3f}, {seconds:.0f} s", flush=True)


def main(directory: Path = DIRECTORY) -> None:
    torch.set_num_threads(THREADS)
    set_seed(SEED)
    tokenizer = build_tokenizer()
    model = Qwen2ForCausalLM(build_config(tokenizer))
    print(f"{model.num_parameters() / 1e6:.2f} M parameters, {len(tokenizer)} tokens")
    for stage in STAGES:
        train(model, tokenizer, stage)
    model.save_pretrained(directory)
    build_tokenizer().save_pretrained(directory)  # the used one remembers how it padded


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY)
