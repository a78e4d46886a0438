"""What a run will take, as far as files say it without loading a model."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from rlvr import memory
from rlvr.config import batch
from rlvr.config.batch import Batch
from rlvr.config.schema import PeftMethod
from rlvr.machine import Machine
from rlvr.memory import Memory, Tokens
from rlvr.model_files import model_files

if TYPE_CHECKING:
    from rlvr.data.load import Splits

PROMPTS = 64  # that are looked at


def prompt_tokens(cfg: DictConfig, splits: "Splits") -> list[list[int]] | None:
    """Token ids of some prompts, as long as training makes them, or None where the tokenizer is
    not on this machine."""
    folder = model_files(cfg.model.path)
    if folder is None or not (folder / "tokenizer.json").exists():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    questions = splits.train.take(min(PROMPTS, len(splits.train)))["question"]
    prompts = [splits.prompts.longest(question) for question in questions]
    return [encoded.ids for encoded in tokenizer.encode_batch(prompts)]


def tokens(cfg: DictConfig, prompts: list[list[int]]) -> Tokens:
    """Their common prefix, and what several questions have on average, which few rarely exceed."""
    shortest, longest = min(prompts), max(prompts)  # of sorted lists the first and last differ most
    pairs = zip(shortest, longest, strict=False)
    prefix = next((i for i, (a, b) in enumerate(pairs) if a != b), min(map(len, prompts)))
    rest = [len(prompt) - prefix for prompt in prompts]
    return Tokens(
        prefix, (sum(rest) // len(rest) + max(rest)) // 2, cfg.trainer.max_completion_length
    )


@dataclass(frozen=True)
class Plan:
    """How a run would use a machine. `memory` is None where the model's files are not here, or of a
    kind that is not known; the micro-batch is then all of a process's share."""

    batch: Batch
    memory: Memory | None
    machine: Machine

    @property
    def fits(self) -> bool:
        return self.memory is None or self.machine.holds(self.memory.peak)


def plan(cfg: DictConfig, splits: "Splits", machine: Machine, processes: int) -> Plan:
    folder = model_files(cfg.model.path, cfg.model.revision)
    shape = memory.read_shape(folder) if folder else None
    prompts = prompt_tokens(cfg, splits)
    if shape is None or not prompts:
        return Plan(batch.derive(cfg, processes, lambda micro: True), None, machine)
    need = partial(
        memory.estimate, cfg, shape, tokens(cfg, prompts), processes=processes, machine=machine
    )
    chosen = batch.derive(cfg, processes, lambda micro: machine.holds(need(micro=micro).peak))
    return Plan(chosen, need(micro=chosen.micro), machine)


# What makes a run smaller, in the order of what it costs.
SMALLER = (
    ("trainer.micro_batch_size", None),
    ("trainer.gradient_checkpointing", True),
    ("peft.method", PeftMethod.lora),
    ("peft.method", PeftMethod.qlora),
    ("trainer.optimizer_steps_per_generation", 1),
)


def nearest_that_fits(
    cfg: DictConfig, splits: "Splits", machine: Machine, processes: int
) -> list[str] | None:
    """Overrides, each needed because those before it are not enough; None where none are."""
    smaller, changes = cfg.copy(), {}
    for key, value in SMALLER:
        if OmegaConf.select(smaller, key) == value:
            continue
        OmegaConf.update(smaller, key, value)
        changes[key] = value
        found = plan(smaller, splits, machine, processes)
        if found.fits:
            return [_override(key, value, found.batch.micro) for key, value in changes.items()]
    return None


def _override(key: str, value: Any, micro: int) -> str:
    if key == "trainer.micro_batch_size":
        return f"{key}={micro}"
    return f"{key.removesuffix('.method')}={str(getattr(value, 'value', value)).lower()}"
