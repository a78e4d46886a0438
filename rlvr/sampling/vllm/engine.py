"""The engine vLLM: in this process or in one of its own, holding what the trainer holds."""

import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlvr.errors import UserError
from rlvr.prefix.support import base_model
from rlvr.sampling.engine import Completions, OnFinished, Sampling, eos_token_ids
from rlvr.sampling.stop import StopRule
from rlvr.sampling.vllm import sync
from rlvr.sampling.vllm.parity import Parity, measure
from rlvr.sampling.vllm.settings import VllmSettings

if TYPE_CHECKING:
    from rlvr.sampling.vllm.core import Core
    from rlvr.sampling.vllm.server import Server

log = logging.getLogger(__name__)

COLOCATE, SERVER = "vllm_colocate", "vllm_server"


class VllmEngine:
    """Starts vLLM when it is first asked. Both modes compute the same, so they have one name."""

    name = "vllm"

    def __init__(
        self,
        mode: str,
        tokenizer: PreTrainedTokenizerBase,
        settings: VllmSettings,
        self_check: bool,
    ) -> None:
        self.mode, self.tokenizer, self.settings = mode, tokenizer, settings
        self.unverified = self_check  # until the first batch is compared with the trainer's model
        self.parity: Parity | None = None
        self.syncs = 0  # times that weights or an adapter were handed over
        self.seconds_to_start = 0.0
        self.seconds_of_last_sync = 0.0  # 0 where the last rows needed none
        self._core: Core | Server | None = None
        self._held: tuple[int, ...] = ()  # content of the adapter or the weights it samples with
        self._dequantised: tempfile.TemporaryDirectory[str] | None = None

    @torch.no_grad()
    def sample(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        stop: StopRule,
        seeds: Sequence[int],
        on_finished: OnFinished | None = None,
    ) -> Completions:
        """See `Engine.sample`. vLLM draws by itself: the same seed says another thing here than
        in the other engines, but it is still the row's alone."""
        self._refuse_too_long(prompts, sampling)
        eos = eos_token_ids(base_model(model), self.tokenizer)
        # The trainer's autocast is not for vLLM's own kernels.
        with torch.autocast(model.device.type, enabled=False):
            if self._core is None:
                self._core = self._start(model)
            self._take(model)
            drawn = self._core.sample(prompts, sampling, stop, seeds, eos, on_finished)
        if self.unverified:
            self.unverified = False
            self.parity = measure(model, self.tokenizer, prompts, drawn, sampling)
            self.parity.require()
        return drawn

    def _refuse_too_long(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> None:
        longest = max(map(len, prompts)) + sampling.max_new_tokens
        if longest > self.settings.max_model_len:
            raise UserError(
                f"trainer.vllm.max_model_len={self.settings.max_model_len} has no room for a "
                f"prompt and a completion that may have {longest} tokens together: raise it to "
                "that where the model allows it, or show fewer shots"
            )

    def _start(self, model: Any) -> "Core | Server":
        settings = self.settings
        if getattr(base_model(model), "is_loaded_in_4bit", False):
            self._dequantised = tempfile.TemporaryDirectory(prefix="rlvr-vllm-")
            sync.save_dequantised(model, self.tokenizer, Path(self._dequantised.name))
            settings = replace(settings, model=self._dequantised.name, revision=None)
        started = time.monotonic()
        core = _build(self.mode, settings, self.tokenizer)
        self.seconds_to_start = time.monotonic() - started
        log.info("vLLM (%s) is up after %.0f s", self.mode, self.seconds_to_start)
        return core

    def _take(self, model: Any) -> None:
        """Hand over what has changed since the last time."""
        content, self.seconds_of_last_sync = sync.content(model), 0.0
        if content == self._held:
            return
        assert self._core is not None
        started = time.monotonic()
        if not content:
            self._core.take_adapter(None)
        else:
            with sync.folder(sync.size(model)) as path:
                if sync.is_adapted(model):
                    sync.save_adapter(model, path)
                    self._core.take_adapter(path)
                else:
                    sync.save_weights(model, path)
                    self._core.take_weights(path)
        self._held = content
        self.syncs += 1
        self.seconds_of_last_sync = time.monotonic() - started

    def close(self) -> None:
        if self._core is not None:
            self._core.close()
            self._core = None
            self._held = ()


def _build(
    mode: str, settings: VllmSettings, tokenizer: PreTrainedTokenizerBase
) -> "Core | Server":
    if mode == SERVER:
        from rlvr.sampling.vllm.remote import RemoteServer
        from rlvr.sampling.vllm.server import OwnServer

        return RemoteServer(settings) if settings.server else OwnServer(settings, _last_gpu())
    from rlvr.random_states import random_state, set_random_state
    from rlvr.sampling.vllm.core import Core

    state = random_state()
    try:
        return Core(settings, tokenizer)  # which seeds the generators of this process
    finally:
        set_random_state(state)


def _last_gpu() -> str | None:
    """The trainer takes the first of the visible ones; with one alone both share it."""
    from rlvr.machine import visible_gpus

    gpus = visible_gpus()
    return gpus[-1] if gpus else None
