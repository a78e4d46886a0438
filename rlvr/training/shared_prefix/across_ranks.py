"""What the processes of a DDP run do together. Every rank must call each of these."""

from typing import Any

import torch
import torch.distributed as dist
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

BUCKET = 2**23  # numbers that are reduced in one call


def several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def average_gradients(model: nn.Module) -> None:
    """As DDP's own reduction: the mean over ranks of what any of them has a gradient for."""
    if not several():
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    known = torch.tensor([p.grad is not None for p in parameters], device=parameters[0].device)
    known = known.int()
    dist.all_reduce(known)
    gradients = []
    for parameter, ranks in zip(parameters, known.tolist(), strict=True):
        if ranks and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if parameter.grad is not None:
            gradients.append(parameter.grad)
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        parts = flat.split([gradient.numel() for gradient in bucket])
        for gradient, part in zip(bucket, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(gradients: list[Tensor]) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    size = 0
    for gradient in gradients:
        size += gradient.numel()
        if not buckets or size > BUCKET or gradient.dtype != buckets[-1][0].dtype:
            buckets.append([])
            size = gradient.numel()
        buckets[-1].append(gradient)
    return buckets


def same(value: Any) -> Any:
    """The main process's value, on all of them."""
    return broadcast_object_list([value])[0]


def of_each(value: Any) -> list[Any]:
    """Every rank's value, on all of them."""
    return gather_object([value])  # type: ignore[no-any-return]


def mean(numbers: tuple[float, float] | None, device: torch.device) -> tuple[float, float] | None:
    """Over the ranks that have any; None if none has."""
    row = torch.tensor([*(numbers or (0.0, 0.0)), numbers is not None], dtype=torch.float64)
    row = row.float().to(device)
    if several():
        dist.all_reduce(row)
    a, b, ranks = row.tolist()
    return (a / ranks, b / ranks) if ranks else None
