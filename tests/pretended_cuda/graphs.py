"""Graphs, streams, events and the random state of the pretended device.

What a graph captures is not run, only when the graph is replayed: with the tensors that were there
and the numbers that the host had then.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from pretended_cuda.record import RECORD, line


class Generator:
    """A capture that fails leaves torch's random state in its hands, and the next draw fails."""

    capturing = False

    def clone_state(self) -> bool:
        return self.capturing

    def graphsafe_set_state(self, state: bool) -> None:
        self.capturing = state


class Graph:
    """`torch.cuda.CUDAGraph`."""

    open: "Graph | None" = None

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def capture_begin(self, capture_error_mode: str = "global") -> None:
        Graph.open = self
        GENERATOR.capturing = RECORD.refuses = True
        RECORD.refused = False

    def capture_end(self) -> None:
        Graph.open, RECORD.refuses = None, False
        if RECORD.refused:
            raise RuntimeError("operation failed due to a previous error during capture")
        GENERATOR.capturing = False

    def capture(self, kernel: Callable[[], Any], in_place: bool) -> Any:
        if in_place:
            self.calls.append(kernel)
            return None
        out = kernel()
        self.calls.append(partial(_again, kernel, out))
        return out

    def replay(self) -> None:
        RECORD.kernels["replay", line()] += 1
        for call in self.calls:
            call()


def _again(kernel: Callable[[], Any], out: Any) -> None:
    for old, new in zip(tree_leaves(out), tree_leaves(kernel()), strict=True):
        if isinstance(old, Tensor):
            old.copy_(new)


class Event:
    """To wait for it is no loss where the device has been given more to do since."""

    def record(self) -> None:
        self.launched = RECORD.kernels.total()

    def synchronize(self) -> None:
        if RECORD.kernels.total() == self.launched:
            RECORD.waits["event with nothing queued behind it", line()] += 1


class Stream:
    def __init__(self, device: object = None) -> None: ...

    def wait_stream(self, other: "Stream") -> None: ...


def set_sync_debug_mode(mode: object) -> None:
    RECORD.refuses = mode in ("error", 2)


GENERATOR = Generator()
PRETENDED: dict[str, Any] = {
    "CUDAGraph": Graph,
    "Event": Event,
    "Stream": Stream,
    "stream": lambda stream: nullcontext(),
    "current_stream": lambda device=None: Stream(),
    "default_generators": (GENERATOR,),
    "get_sync_debug_mode": lambda: 2 * RECORD.refuses,
    "set_sync_debug_mode": set_sync_debug_mode,
    "is_current_stream_capturing": lambda: Graph.open is not None,
    "memory_reserved": lambda device=None: 0,
    "memory_allocated": lambda device=None: 0,
}
