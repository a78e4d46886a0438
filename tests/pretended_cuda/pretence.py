"""torch, for a while, with one CUDA device that is none."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

# These look at what torch was built with: before anything is changed.
import torch
import torch._dynamo
import torch._inductor.utils
import transformers  # noqa: F401
import trl  # noqa: F401
from torch import nn

from pretended_cuda.device import Pretence, is_cuda
from pretended_cuda.graphs import PRETENDED
from pretended_cuda.kernels import PINNED, flash_on_cpu
from pretended_cuda.record import RECORD, Record, line
from rlvr.prefix import flex

GB = 2**30
PROPERTIES = SimpleNamespace(
    name="pretended",
    total_memory=80 * GB,
    major=8,
    minor=0,
    multi_processor_count=108,
    warp_size=32,
    max_threads_per_multi_processor=2048,
    shared_memory_per_block_optin=166912,
    regs_per_multiprocessor=65536,
    gcnArchName="",
)


def synchronize(device: Any = None) -> None:
    RECORD.waits["torch.cuda.synchronize", line()] += 1


FUNCTIONS: dict[str, Any] = {
    "is_available": lambda: True,
    "is_initialized": lambda: True,
    "_lazy_init": lambda: None,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "set_device": lambda device: None,
    "get_device_capability": lambda device=None: (8, 0),
    "get_device_properties": lambda device=None: PROPERTIES,
    "get_device_name": lambda device=None: PROPERTIES.name,
    "is_bf16_supported": lambda including_emulation=True: True,
    **PRETENDED,
    "mem_get_info": lambda device=None: (80 * GB, 80 * GB),
    "empty_cache": lambda: None,
    "synchronize": synchronize,
    "manual_seed": lambda seed: None,
    "manual_seed_all": lambda seed: None,
    "get_rng_state": lambda device="cuda": torch.get_rng_state(),
    "set_rng_state": lambda state, device="cuda": None,
    "get_rng_state_all": lambda: [torch.get_rng_state()],
    "set_rng_state_all": lambda states: None,
}


@contextmanager
def pretended_cuda() -> Iterator[Record]:
    """The record of what happens within; `guard.install` must have been called."""
    RECORD.clear()
    PINNED.clear()
    with ExitStack() as undo:
        for name, function in FUNCTIONS.items():
            undo.enter_context(mock.patch.object(torch.cuda, name, function))
        undo.enter_context(mock.patch.object(nn.Module, "_apply", _apply))
        undo.enter_context(mock.patch.object(torch.Tensor, "tolist", _tolist))
        undo.enter_context(mock.patch.object(flex, "compiled", _no_triton))
        undo.enter_context(flash_on_cpu())
        # torch.tensor(..., device="cuda") makes a tensor on the CPU first.
        torch._C._set_only_lift_cpu_tensors(True)
        undo.callback(torch._C._set_only_lift_cpu_tensors, False)
        undo.enter_context(Pretence())
        yield RECORD


def _no_triton(function: Callable[..., Any]) -> Callable[..., Any]:
    raise RuntimeError("Cannot find a working triton installation")


def _tolist(tensor: Any, own: Callable[..., Any] = torch.Tensor.tolist) -> Any:
    if not is_cuda(tensor):
        return own(tensor)
    stops = RECORD.stops()
    RECORD.waits[f"tolist of {tuple(tensor.shape)}", line()] += 1
    RECORD.refuse_more_than(stops)
    return own(tensor.held)


def _apply(self: nn.Module, fn: Callable[..., Any], recurse: bool = True) -> nn.Module:
    """As torch's own, but tied weights are replaced, together: `.data =` cannot make of a plain
    tensor one of another class."""
    made: dict[int, Any] = {}

    def new(tensor: Any) -> Any:
        if tensor is not None and id(tensor) not in made:
            made[id(tensor)] = _converted(tensor, fn)
        return None if tensor is None else made[id(tensor)]

    for module in self.modules():
        for owned in (module._parameters, module._buffers):
            owned.update({name: new(tensor) for name, tensor in owned.items()})
    return self


def _converted(tensor: Any, fn: Callable[..., Any]) -> Any:
    with torch.no_grad():
        other = fn(tensor)
    if is_cuda(other) == is_cuda(tensor) and other.dtype == tensor.dtype:
        return tensor
    if isinstance(tensor, nn.Parameter) or getattr(tensor, "_is_param", False):
        return nn.Parameter(other, tensor.requires_grad)
    return other
