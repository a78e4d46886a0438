"""What every sampling engine is, and what all of them share: draws, forbidden tokens, endings.

An engine is bound to a model and a tokenizer. It is the only place where the stop rule acts: what
rewards, health and evaluations read are the texts it returns.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from rlvr.sampling.stop import StopRule, opens_thought


@dataclass(frozen=True)
class Sampling:
    """How to draw tokens. `temperature=0` is greedy; `top_k=0` and `min_p=0` switch them off."""

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether the model's own distribution is drawn from, at some temperature."""
        return (self.top_p, self.top_k, self.min_p, self.repetition_penalty) == (1.0, 0, 0.0, 1.0)


@dataclass(frozen=True)
class Completions:
    """Sampled rows. `ids` end with the token that completed a stop or with EOS; `texts` are cut."""

    ids: list[list[int]]
    texts: list[str]
    ended: list[bool]  # by EOS or the stop rule, not by max_new_tokens
    log_probs: list[list[float]] | None = None  # of `ids`, where the engine is not the trainer


OnFinished = Callable[[int, str], None]


class Engine(Protocol):
    name: str  # of the class; part of the identity of what it sampled

    def sample(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        stop: StopRule,
        seeds: Sequence[int],
        on_finished: OnFinished | None = None,
    ) -> Completions:
        """One completion for each of the prompts (token ids, B ragged rows), in order.

        `on_finished` is told each row's number and text as soon as it ends, once; the rows that
        `max_new_tokens` cuts off all end with the last token.

        Row i is drawn with random numbers of `seeds[i]` alone: which rows are sampled beside it,
        and in what order, changes it by no more than the rounding of the logits.
        """
        ...


class Draw:
    """Next tokens (b,) from processed scores (b, V): greedy, or a random number a row and step."""

    def __init__(
        self, sampling: Sampling, seeds: Sequence[int], device: torch.device | str = "cpu"
    ) -> None:
        self._numbers: Tensor | None = None
        if sampling.temperature > 0:
            length = sampling.max_new_tokens
            rows = [np.random.Generator(np.random.Philox(key=s)).random(length) for s in seeds]
            self._numbers = torch.from_numpy(np.array(rows)).to(device)  # (B, max_new_tokens)

    def __call__(self, scores: Tensor, rows: Tensor, step: int | Tensor) -> Tensor:
        """`rows` (b,) says which of the seeds' rows the scores belong to; `step` may be (1,)."""
        if self._numbers is None:
            return scores.argmax(-1)
        # torch.multinomial would draw a random number for each token of the vocabulary.
        reached = scores.softmax(-1).double().cumsum(-1)
        numbers = self._numbers[rows, step]
        tokens = torch.searchsorted(reached, numbers[:, None] * reached[:, -1:], right=True)[:, 0]
        return tokens.clamp(max=scores.shape[1] - 1)


def processors(sampling: Sampling, tokenizer: PreTrainedTokenizerBase) -> LogitsProcessorList:
    """What transformers' `generate` makes of these settings, in its order, on known tokens only."""
    chain = LogitsProcessorList([OnlyKnownTokens(tokenizer)])
    if sampling.repetition_penalty != 1.0:
        chain.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.temperature == 0:
        return chain
    if sampling.temperature != 1.0:
        chain.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k != 0:
        chain.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1.0:
        chain.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0.0:
        chain.append(MinPLogitsWarper(sampling.min_p))
    return chain


class OnlyKnownTokens:
    """Rules out ids that the tokenizer does not know: models pad their vocabulary (Qwen2.5 has
    151,936 rows for 151,665 tokens), and such an id can be drawn but not read."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._known = known_tokens(tokenizer)
        self._unknown: Tensor | None = None  # (V,) bool, once the model's V is seen

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._unknown is None:
            unknown = torch.ones(scores.shape[1], dtype=torch.bool)
            unknown[: len(self._known)] = ~self._known[: scores.shape[1]]
            self._unknown = unknown.to(scores.device)
            self._any = bool(unknown.any())
        return scores.masked_fill(self._unknown, float("-inf")) if self._any else scores


@lru_cache(maxsize=8)
def known_tokens(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """(highest id + 1,) bool: which ids the tokenizer knows."""
    ids = torch.tensor(sorted(tokenizer.get_vocab().values()))
    return torch.zeros(int(ids[-1]) + 1, dtype=torch.bool).index_fill(0, ids, True)


@lru_cache(maxsize=8)
def _tokens_with(tokenizer: PreTrainedTokenizerBase, characters: frozenset[str]) -> frozenset[int]:
    """Tokens whose text holds one of `characters`; only they can complete a stop."""
    known = known_tokens(tokenizer).nonzero().flatten().tolist()
    texts = tokenizer.batch_decode([[i] for i in known])
    return frozenset(
        i for i, t in zip(known, texts, strict=True) if any(c in t for c in characters)
    )


def eos_token_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every id the model or the tokenizer declares as the end of a sequence."""
    declared = model.generation_config.eos_token_id if model.generation_config else None
    ids = declared if isinstance(declared, list) else [] if declared is None else [declared]
    return list(dict.fromkeys([tokenizer.eos_token_id, *ids]))


class Rows:
    """Completions under way: the one place where a token, EOS or the stop rule ends a row."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[Sequence[int]],
        stop: StopRule,
        eos: Iterable[int],
        on_finished: OnFinished | None = None,
    ) -> None:
        self._on_finished = on_finished
        self._tokenizer, self._stop, self._eos = tokenizer, stop, frozenset(eos)
        self._may_stop = _tokens_with(tokenizer, stop.last_characters)
        thinks = {p: opens_thought(tokenizer.decode(p)) for p in set(map(tuple, prompts))}
        self._thinking = [thinks[tuple(prompt)] for prompt in prompts]
        self.ids: list[list[int]] = [[] for _ in prompts]
        self.ended = [False] * len(prompts)
        self._texts: dict[int, str] = {}  # of rows that have ended

    def add(self, row: int, token: int) -> bool:
        """Whether the row ends with this token; a row that has ended takes no more."""
        if not self.ended[row]:
            self.ids[row].append(token)
            self.ended[row] = token in self._eos or self._stops(row, token)
            if self.ended[row]:
                self._finish(row)
        return self.ended[row]

    def _finish(self, row: int) -> None:
        self._texts[row] = self._stop.cut(self._text(row), self._thinking[row])
        if self._on_finished is not None:
            self._on_finished(row, self._texts[row])

    def _stops(self, row: int, token: int) -> bool:
        if token not in self._may_stop:
            return False
        return self._stop.find(self._text(row), self._thinking[row]) is not None

    def _text(self, row: int) -> str:
        text: Any = self._tokenizer.decode(self.ids[row], skip_special_tokens=True)
        return str(text)

    def finished(self, log_probs: list[list[float]] | None = None) -> Completions:
        for row, ended in enumerate(self.ended):
            if not ended:
                self._finish(row)
        texts = [self._texts[row] for row in range(len(self.ids))]
        return Completions(self.ids, texts, self.ended, log_probs)
