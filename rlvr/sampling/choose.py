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

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlvr.errors import UserError
from rlvr.result import write_atomic
from rlvr.sampling.engine import Engine, Sampling
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.shared import choose_engine
from rlvr.sampling.stop import StopRule
from rlvr.sampling.vllm.settings import VllmSettings

log = logging.getLogger(__name__)

CLEARLY = 1.15  # times the tokens a second of the engine without vLLM: less may be noise
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
    if wanted == "transformers":
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


def undecided(generation: EngineChoice) -> bool:
    """Whether `auto` has a vLLM to measure, and no earlier choice."""
    asked = generation.wanted == "auto" and generation.vllm is not None
    return asked and generation.known() is None


def fastest(
    generation: EngineChoice,
    usual: Engine,
    tokenizer: PreTrainedTokenizerBase,
    inference: Inference,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
) -> Engine:
    """`usual`, or vLLM where it is clearly faster and computes the same; both sample `prompts`."""
    from rlvr.sampling.vllm.engine import COLOCATE, VllmEngine

    assert generation.vllm is not None
    vllm = VllmEngine(COLOCATE, tokenizer, generation.vllm, self_check=True)
    with inference() as model:
        speeds = {usual.name: _tokens_per_second(usual, model, prompts, sampling)}
        try:
            speeds[COLOCATE] = _tokens_per_second(vllm, model, prompts, sampling)
        except Exception as error:  # whatever vLLM raises, there is an engine that works
            log.warning("trainer.generation=auto: vLLM is left out: %s", error)
    faster = speeds.get(COLOCATE, 0.0) > CLEARLY * speeds[usual.name]
    chosen = COLOCATE if faster else usual.name
    parity = vllm.parity and str(vllm.parity)
    found = {"chosen": chosen, "tokens_per_second": speeds, "vllm": parity}
    log.info("trainer.generation=auto: %s", json.dumps(found))
    generation.write(found)
    if faster:
        return vllm
    vllm.close()
    return usual


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
