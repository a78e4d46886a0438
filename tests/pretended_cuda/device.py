"""Tensors that say `cuda:0`, and the mode that computes with them on the CPU."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from pretended_cuda.graphs import Graph
from pretended_cuda.kernels import EMULATED, PINNED
from pretended_cuda.record import RECORD, line

aten = torch.ops.aten
CPU = torch.device("cpu")
COPIES = (aten._to_copy.default, aten.copy_.default)
INDEXED = {  # a GPU takes indices that are on the CPU, after it has copied them
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index.Tensor,
}
WAITED_FOR = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.unique_consecutive.default,
    aten.repeat_interleave.Tensor,
    aten.equal.default,
    aten.is_nonzero.default,
}
NO_KERNEL = {
    aten._unsafe_view.default,
    aten.detach.default,
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
    aten.lift_fresh.default,
    aten._reshape_alias.default,
    aten.alias.default,
    aten._fused_sdp_choice.default,
    aten.is_pinned.default,
}


class CudaTensor(torch.Tensor):
    held: Tensor  # its values, on the CPU

    @staticmethod
    def __new__(cls, held: Tensor, requires_grad: bool = False) -> "CudaTensor":
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset()}
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            dtype=held.dtype,
            device="cuda:0",
            requires_grad=requires_grad,
            **layout,
        )
        made.held = held
        return made

    def __repr__(self) -> str:
        return f"cuda:{self.held!r}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied: Any = CudaTensor(self.held.detach().clone())
        if getattr(self, "_is_param", False):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        memo[id(self)] = copied.requires_grad_(self.requires_grad)
        return copied

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return run(func, args, kwargs or {})


class Pretence(TorchDispatchMode):
    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return run(func, args, kwargs or {})


def is_cuda(x: Any) -> bool:
    return isinstance(x, CudaTensor)


def held(x: Any) -> Any:
    return x.held if isinstance(x, CudaTensor) else x


def run(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """One operation: looked at as a GPU would, computed on the CPU."""
    asked = kwargs.get("device")
    target = None if asked is None else torch.device(asked).type
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    stops = RECORD.stops()
    if func in COPIES:
        there = _copied_to_cuda(func, args, kwargs, target)
    else:
        there = target == "cuda" if target else any(map(is_cuda, tensors))
        _refuse_two_devices(func, args, tensors)
        _note_waits(func, args)
    RECORD.refuse_more_than(stops)
    launched = there and not _is_view(func) and func not in NO_KERNEL
    if launched:
        RECORD.kernels[str(func), line()] += 1
    out = _computed(func, args, kwargs, target, launched)
    if (written := _written(func, args, kwargs)) is not None:
        return written
    if not there or func is aten._local_scalar_dense.default:
        return out
    return tree_map(lambda x: CudaTensor(x) if isinstance(x, Tensor) else x, out)


def _copied_to_cuda(
    func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], target: str | None
) -> bool:
    """Whether the result is on the device; a copy between the two is noted."""
    into = func is aten.copy_.default
    source = args[1] if into else args[0]
    there = is_cuda(args[0]) if into or target is None else target == "cuda"
    asynchronous = (args[2] if len(args) > 2 else False) or kwargs.get("non_blocking", False)
    if is_cuda(source) and not there:
        pinned = into and args[0].untyped_storage().data_ptr() in PINNED
        if not (asynchronous and pinned):
            RECORD.waits[f"copy of {tuple(source.shape)} to the host", line()] += 1
    elif there and not is_cuda(source):
        if source.untyped_storage().data_ptr() not in PINNED:
            RECORD.copies[f"pageable copy of {tuple(source.shape)}", line()] += 1
        elif not asynchronous:
            RECORD.waits[f"copy of {tuple(source.shape)} from pinned memory", line()] += 1
    return there


def _refuse_two_devices(func: Any, args: Sequence[Any], tensors: Sequence[Tensor]) -> None:
    strangers = [x for x in tensors if not is_cuda(x) and x.dim() > 0]
    if not strangers or not any(map(is_cuda, tensors)) or func is aten.set_.source_Tensor:
        return
    values = [x for x in args[2:3] if isinstance(x, Tensor)]
    if func in INDEXED and is_cuda(args[0]) and all(is_cuda(x) or not x.dim() for x in values):
        RECORD.copies[f"hidden copy of {len(strangers)} CPU indices", line()] += len(strangers)
        return
    shapes = [tuple(x.shape) for x in strangers]
    raise RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and "
        f"cpu! ({func}, on the CPU: {shapes})"
    )


def _note_waits(func: Any, args: Sequence[Any]) -> None:
    if not args or not any(map(is_cuda, tree_leaves(list(args)))):
        return
    if func in WAITED_FOR:
        RECORD.waits[str(func), line()] += 1
    masks = (torch.bool, torch.uint8)
    if func in INDEXED and any(isinstance(i, Tensor) and i.dtype in masks for i in args[1]):
        RECORD.waits["nonzero of a mask as index", line()] += 1


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    alias = returns[0].alias_info if returns else None
    return alias is not None and not alias.is_write


def _computed(
    func: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    target: str | None,
    launched: bool,
) -> Any:
    here = tree_map(held, dict(kwargs))
    if target == "cuda":
        here["device"] = CPU
    pinned = here.pop("pin_memory", False) or func is aten._pin_memory.default
    kernel: Callable[..., Any] = EMULATED.get(func, func)
    call = partial(kernel, *tree_map(held, list(args)), **here)
    if launched and Graph.open is not None:
        returns = func._schema.returns
        return Graph.open.capture(call, bool(returns) and _is_written(returns[0]))
    out = call()
    if pinned:
        PINNED[out.untyped_storage().data_ptr()] = out
    return out


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The arguments themselves, where an operation writes into them and gives them back."""
    schema = func._schema
    if not schema.returns or not _is_written(schema.returns[0]):
        return None
    outs = [
        args[i] if i < len(args) else kwargs[argument.name]
        for i, argument in enumerate(schema.arguments)
        if _is_written(argument)
    ]
    for out in outs:
        if is_cuda(out) and out.shape != out.held.shape:
            raise RuntimeError(f"{func} has resized a tensor, which a pretended one cannot follow")
    return outs[0] if len(schema.returns) == 1 else tuple(outs)


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write
