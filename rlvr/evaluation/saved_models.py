"""The models of a finished run, loaded when they are first asked something."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rlvr.sampling.engine import Engine


class SavedModels:
    """The trained model (its own weights, or the base model with its adapter) and its base."""

    def __init__(self, run: Path, cfg: DictConfig) -> None:
        import torch

        self.folder = run / "model"
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._cfg = cfg
        self._is_adapter = (self.folder / "adapter_config.json").exists()
        self._held: tuple[bool, PreTrainedModel] | None = None  # whether trained, one at a time

    @contextmanager
    def lend(self, *, trained: bool) -> "Iterator[PreTrainedModel]":
        """Computing as the run did. The base is what an adapter leaves when it is switched off."""
        import torch

        from rlvr.training.model import mixed_precision

        model: Any = self._model(trained=trained or self._is_adapter)
        off = self._is_adapter and not trained
        computing = torch.autocast(self.device, torch.bfloat16, enabled=mixed_precision(self._cfg))
        with model.disable_adapter() if off else nullcontext(), computing:
            yield model

    def _model(self, *, trained: bool) -> "PreTrainedModel":
        if self._held is None or self._held[0] != trained:
            self._held = None
            self._held = trained, self._load(trained).to(self.device).eval()
        return self._held[1]

    def _load(self, trained: bool) -> Any:
        from peft import PeftModel

        from rlvr.training.model import load_model

        if self._is_adapter:
            return PeftModel.from_pretrained(load_model(self._cfg), str(self.folder))
        cfg = self._cfg.copy()
        if trained:
            cfg.model.path = str(self.folder)
        return load_model(cfg)

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        from rlvr.training.model import load_tokenizer

        return load_tokenizer(self._cfg)

    @cached_property
    def engine(self) -> "Engine":
        """Its class is part of what an answer is looked up by: known without the weights.

        Where the run's own was vLLM and there is none here, another class answers anew.
        """
        from rlvr.config.generation import missing
        from rlvr.sampling.choose import EngineChoice, engine_for
        from rlvr.training.arguments import vllm_settings
        from rlvr.training.model import without_weights

        run, chosen = self.folder.parent, self._cfg.trainer.generation.value
        settings = None if missing(self._cfg) else vllm_settings(self._cfg, run / "vllm.log")
        known = EngineChoice(chosen, settings, (run / "generation.json",))
        skeleton, cache = without_weights(self._cfg), self._cfg.trainer.prefix_cache
        return engine_for(known, skeleton, self.tokenizer, cache)
