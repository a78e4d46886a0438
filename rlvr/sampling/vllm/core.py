"""vLLM's engine, driven token by token, so that the one stop rule ends each row where it is met."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from rlvr.errors import UserError
from rlvr.sampling.engine import Completions, OnFinished, Rows, Sampling, known_tokens
from rlvr.sampling.stop import StopRule
from rlvr.sampling.vllm.settings import CPU_CACHE, CPU_GIB, ONLY_GREEDY_ON_CPU, RANKS, VllmSettings

# Read when vLLM is imported; what the user has set stays.
ENVIRONMENT = {
    CPU_CACHE: CPU_GIB,
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # threads stay where the trainer has put them
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}
NEVER = -100.0  # nats added to the score of a token that the tokenizer does not know
CPU_STEP = 4096  # tokens of prompts in a step, at least
LOOKED_UP = (2, 4)  # tokens that must have come before in the same order, for a guess at the next


class Core:
    """An engine in this process, with the weights of a folder and at most one adapter."""

    def __init__(self, settings: VllmSettings, tokenizer: PreTrainedTokenizerBase) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # A process of vLLM's own would outlive us, and hides its errors.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        from vllm import EngineArgs, LLMEngine
        from vllm.usage.usage_lib import UsageContext

        self.tokenizer = tokenizer
        self._adapter: Any = None
        self._adapters = self._requests = 0
        rank = next((r for r in RANKS if r >= settings.lora_rank), RANKS[-1])
        self._engine = LLMEngine.from_engine_args(
            EngineArgs(
                model=settings.model,
                revision=settings.revision,
                tokenizer_revision=settings.revision,
                trust_remote_code=settings.trust_remote_code,
                dtype=settings.dtype,  # type: ignore[arg-type]
                max_model_len=settings.max_model_len,
                gpu_memory_utilization=settings.memory_share,
                enable_prefix_caching=True,
                enable_lora=settings.lora_rank > 0,
                max_loras=1,
                max_lora_rank=rank,  # type: ignore[arg-type]
                logprobs_mode="processed_logprobs",  # of the distribution that was drawn from
                speculative_config=_speculation(settings.guesses),
                disable_log_stats=True,
                use_tqdm_on_load=False,
                **_prefill(settings.max_model_len),
            ),
            usage_context=UsageContext.LLM_CLASS,  # as many rows and tokens in a step as LLM takes
        )
        self._guesses = settings.guesses
        self._allowed = self._allowed_tokens()

    def _allowed_tokens(self) -> dict[str, Any]:
        """Settings that leave out what the tokenizer does not know."""
        size = self._engine.vllm_config.model_config.get_vocab_size()
        known = set(known_tokens(self.tokenizer)[:size].nonzero().flatten().tolist())
        if self._guesses and len(known) < size:  # guesses are checked without a bias
            return {"allowed_token_ids": sorted(known)}
        return {"logit_bias": {i: NEVER for i in range(size) if i not in known} or None}

    def take_adapter(self, folder: Path | None) -> None:
        """Sample with the adapter of `folder` from now on; None is the base model.

        Each adapter has a name of its own, by which vLLM tells apart what it has in its cache.
        """
        from vllm.lora.request import LoRARequest

        if self._adapter is not None:
            self._engine.remove_lora(self._adapter.lora_int_id)
            self._adapter = None
        if folder is not None:
            self._adapters += 1
            self._adapter = LoRARequest(f"adapter-{self._adapters}", self._adapters, str(folder))
            self._engine.add_lora(self._adapter)

    def take_weights(self, folder: Path) -> None:
        """All weights from `folder`; what was cached belongs to the old ones."""
        self._engine.collective_rpc("reload_weights", kwargs={"weights_path": str(folder)})
        self._engine.reset_prefix_cache()

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        stop: StopRule,
        seeds: Sequence[int],
        eos: Sequence[int],
        on_finished: OnFinished | None = None,
        on_step: Callable[[], None] = lambda: None,
    ) -> Completions:
        """As `Engine.sample`; `on_step` is called after each step of the model."""
        if self._guesses and sampling.temperature > 0 and not torch.cuda.is_available():
            raise UserError(f"trainer.vllm.speculation: {ONLY_GREEDY_ON_CPU}; leave it out")
        rows = Rows(self.tokenizer, prompts, stop, eos, on_finished)
        log_probs: list[list[float]] = [[] for _ in prompts]
        first = self._requests
        self._requests += len(prompts)
        try:
            for row, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
                self._add(str(first + row), prompt, sampling, seed, eos)
            while self._engine.has_unfinished_requests():
                for output in self._engine.step():
                    row = int(output.request_id) - first
                    if self._feed(rows, row, log_probs[row], output.outputs[0]):
                        self._engine.abort_request([output.request_id])
                on_step()
        except BaseException:  # Ctrl-C as well: the next call must not find these rows
            self._engine.abort_request([str(first + row) for row in range(len(prompts))])
            raise
        return rows.finished(log_probs)

    def _add(
        self, name: str, prompt: Sequence[int], sampling: Sampling, seed: int, eos: Sequence[int]
    ) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
            repetition_penalty=sampling.repetition_penalty,
            seed=seed % 2**63,
            stop_token_ids=list(eos),
            logprobs=0,  # of the token that was drawn alone
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
            **self._allowed,
        )
        tokens: Any = {"prompt_token_ids": list(prompt)}
        self._engine.add_request(name, tokens, params, lora_request=self._adapter)

    @staticmethod
    def _feed(rows: Rows, row: int, log_probs: list[float], new: Any) -> bool:
        """Whether the row has ended by our rule while vLLM would go on."""
        for token, scores in zip(new.token_ids, new.logprobs, strict=True):
            if not rows.ended[row]:
                log_probs.append(scores[token].logprob)
                rows.add(row, token)
        return rows.ended[row] and new.finish_reason is None

    def close(self) -> None:
        from vllm.distributed import cleanup_dist_env_and_memory

        self._engine.engine_core.shutdown()
        cleanup_dist_env_and_memory()


def _speculation(guesses: int) -> dict[str, Any] | None:
    """What follows the same tokens earlier in the row; the model keeps of it what it would draw."""
    if not guesses:
        return None
    least, most = LOOKED_UP
    return {
        "method": "ngram",
        "num_speculative_tokens": guesses,
        "prompt_lookup_min": least,
        "prompt_lookup_max": most,
    }


def _prefill(longest: int) -> dict[str, Any]:
    """Prompts whole, on a CPU: where only a part of one was computed, vLLM winds back what it drew
    for its row, and PyTorch's generators on a CPU cannot be wound back."""
    if torch.cuda.is_available():
        return {}
    return {"enable_chunked_prefill": False, "max_num_batched_tokens": max(CPU_STEP, longest)}
