"""How the completions of one optimizer step are spread over processes and micro-batches.

`trainer.batch_size` decides what is learned, so no machine changes it; what is derived from it here
decides only where and in how many parts the step is computed.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from omegaconf import DictConfig

from rlvr.config.schema import Distributed


@dataclass(frozen=True)
class Batch:
    """`size` completions of one optimizer step, `micro` at a time in each of the processes."""

    size: int
    processes: int
    micro: int

    @property
    def accumulation(self) -> int:
        return self.size // (self.processes * self.micro)


def derive(cfg: DictConfig, processes: int, fits: Callable[[int], bool]) -> Batch:
    """The micro-batch as set, else the largest that `fits`, else one completion."""
    size: int = cfg.trainer.batch_size
    micro = cfg.trainer.micro_batch_size
    if micro is None:
        micro = next(filter(fits, reversed(_divisors(size // processes))), 1)
    return Batch(size, processes, micro)


def processes(cfg: DictConfig, gpus: int, hosts: int = 1) -> int:
    """As set, else as many of the GPUs of each of the hosts as divide the batch.

    vLLM takes the weights of one process; a further GPU is its server's.
    """
    if cfg.trainer.distributed is Distributed.none or cfg.trainer.generation.is_vllm:
        return 1
    if cfg.trainer.num_processes:
        return int(cfg.trainer.num_processes)
    most = hosts * max(1, gpus)
    shared = [n for n in _divisors(cfg.trainer.batch_size) if n <= most and n % hosts == 0]
    return max(shared, default=hosts)


def problems(cfg: DictConfig) -> Iterator[str]:
    """What does not divide, each with the nearest values that do."""
    t = cfg.trainer
    processes = t.num_processes or 1
    sampled = t.batch_size * t.optimizer_steps_per_generation
    # the least that a batch is a multiple of
    groups = t.num_generations // math.gcd(t.num_generations, t.optimizer_steps_per_generation)
    batches = _either(_multiples(t.batch_size, math.lcm(groups, processes)))
    if sampled % t.num_generations:
        rounds = t.optimizer_steps_per_generation
        each = f" in {rounds} steps on each generation batch" * (rounds > 1)
        yield (
            f"trainer.batch_size={t.batch_size}{each} does not hold whole groups of "
            f"trainer.num_generations={t.num_generations}: use a batch_size of {batches}, or "
            f"num_generations {_either(_around(t.num_generations, _divisors(sampled)[1:]))}"
        )
    if t.batch_size % processes:
        counts = _either(_around(processes, _divisors(t.batch_size)))
        yield (
            f"trainer.num_processes={processes} does not divide trainer.batch_size="
            f"{t.batch_size}: use {counts} processes, or a batch_size of {batches}"
        )
    elif t.micro_batch_size and (share := t.batch_size // processes) % t.micro_batch_size:
        of_each = f" of each of {processes} processes" * (processes > 1)
        yield (
            f"trainer.micro_batch_size={t.micro_batch_size} does not divide the {share} "
            f"completions of an optimizer step{of_each}: use "
            f"{_either(_around(t.micro_batch_size, _divisors(share)))}, or null for what fits"
        )


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


def _multiples(value: int, unit: int) -> list[int]:
    return sorted({max(unit, value - value % unit), value - value % unit + unit})


def _around(value: int, choices: Iterable[int]) -> list[int]:
    """The nearest of the choices below and above."""
    choices = list(choices)
    below, above = [c for c in choices if c < value], [c for c in choices if c > value]
    return below[-1:] + above[:1]


def _either(values: Iterable[int]) -> str:
    return " or ".join(map(str, values))
