"""Which engine samples: the one that is asked for, or the fastest that is here and exact enough.

Engines differ in rounding and in their draws. So what `auto` has measured and chosen is written
down, and a run that is resumed or repeated takes the same.
"""

import json
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlvr import ranks
from rlvr.errors import UserError
from rlvr.result import write_atomic
from rlvr.sampling.engine import Engine, Sampling
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.shared import choose_engine
from rlvr.sampling.stop import StopRule
from rlvr.sampling.vllm.settings import VllmSettings

log = logging.getLogger(__name__)

CLEARLY = 1.15  # times the tokens a second of the usual engine: less may be noise
TRIAL_TOKENS = 32  # of each row that is sampled to measure

Inference = Callable[[], AbstractContextManager[PreTrainedModel]]


@dataclass(frozen=True)
class EngineChoice:
    """`trainer.generation`. `vllm` is what an engine would be built from, None where none can be;
    `records` are the files that may know what `auto` has chosen, the first is the run's own."""

    wanted: str = "auto"
    vllm: VllmSettings | None = None
    records: tuple[Path, ...] = ()

    def known(self) -> dict[str, Any] | None:
        """What an earlier run has chosen; from now on in the run's own record, too."""
        found = next((file for file in self.records if file.exists()), None)
        if found is None:
            return None
        choice: dict[str, Any] = json.loads(found.read_text("utf-8"))
        self.write(choice)
        return choice

    def write(self, choice: dict[str, Any]) -> None:
        for file in self.records:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, json.dumps(choice, indent=2) + "\n")


def engine_for(
    generation: EngineChoice,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prefix_cache: bool,
    self_check: bool = True,
) -> Engine:
    """What is known without sampling: the engine asked for, or that of an earlier choice."""
    wanted = generation.wanted
    if wanted == "auto":
        wanted = (generation.known() or {}).get("chosen", wanted)
    if wanted in ("transformers", PlainEngine.name):
        return PlainEngine(tokenizer)
    if wanted.startswith("vllm") and generation.vllm is not None:
        from rlvr.sampling.vllm.engine import VllmEngine

        return VllmEngine(wanted, tokenizer, generation.vllm, self_check)
    engine = choose_engine(model, tokenizer, prefix_cache, self_check)
    if generation.wanted == "shared" and engine.name != "shared":
        raise UserError(
            "trainer.generation=shared: the model's prefixes cannot be shared exactly; set "
            "trainer.generation=auto"
        )
    return engine


def undecided(generation: EngineChoice, usual: Engine, device: torch.device) -> bool:
    """Whether `auto` has another engine to measure, and no earlier choice."""
    several = generation.vllm is not None or _rivals_plain(usual, device)
    return generation.wanted == "auto" and several and generation.known() is None


def _rivals_plain(usual: Engine, device: torch.device) -> bool:
    """On CUDA, where launches and not sums take the time, what shares the most need not be the
    fastest. Several processes would measure, and choose, each for itself."""
    return device.type == "cuda" and usual.name == "shared" and not ranks.is_rank()


def fastest(
    generation: EngineChoice,
    usual: Engine,
    tokenizer: PreTrainedTokenizerBase,
    inference: Inference,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
) -> Engine:
    """`usual`, or one that is clearly faster and computes the same; all sample `prompts`."""
    from rlvr.sampling.vllm.engine import COLOCATE, VllmEngine

    engines, vllm = {usual.name: usual}, None
    if generation.vllm is not None:
        vllm = VllmEngine(COLOCATE, tokenizer, generation.vllm, self_check=True)
        engines[COLOCATE] = vllm
    with inference() as model:
        if _rivals_plain(usual, model.device):
            engines[PlainEngine.name] = PlainEngine(tokenizer)
        speeds = _measured(engines, usual, model, prompts, sampling)
    best = max(speeds, key=speeds.__getitem__)
    chosen = best if speeds[best] > CLEARLY * speeds[usual.name] else usual.name
    parity = vllm and vllm.parity and str(vllm.parity)
    found = {"chosen": chosen, "tokens_per_second": speeds, "vllm": parity}
    log.info("trainer.generation=auto: %s", json.dumps(found))
    generation.write(found)
    if vllm is not None and chosen != COLOCATE:
        vllm.close()
    return engines[chosen]


def _measured(
    engines: dict[str, Engine],
    usual: Engine,
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
) -> dict[str, float]:
    """Tokens a second of those that work."""
    speeds = {}
    for name, engine in engines.items():
        try:
            speeds[name] = _tokens_per_second(engine, model, prompts, sampling)
        except Exception as error:  # whatever vLLM raises, there is an engine that works
            if engine is usual:
                raise
            log.warning("trainer.generation=auto: %s is left out: %s", engine.name, error)
    return speeds


def _tokens_per_second(
    engine: Engine, model: PreTrainedModel, prompts: Sequence[Sequence[int]], sampling: Sampling
) -> float:
    """Of the second time: the first one loads, compiles and checks."""
    seconds, count = 0.0, 0
    for _ in range(2):
        started = time.monotonic()
        drawn = engine.sample(model, prompts, sampling, StopRule(), range(len(prompts)))
        seconds, count = time.monotonic() - started, sum(map(len, drawn.ids))
    return count / seconds
