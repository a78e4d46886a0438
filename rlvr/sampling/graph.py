"""A decoding step as a CUDA graph: one launch in place of a thousand.

A step that waits for the GPU cannot be captured, and a capture that fails leaves torch's random
state unusable. So a step is asked first, by running it with every wait an error, and the random
state is put back. The graph is believed when its first replay gives what the step gave.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

log = logging.getLogger(__name__)

Step = Callable[[], Tensor]  # logits (b, V)
Replay = Callable[[], object]

NATS = 0.01  # mean difference of log-probabilities; a graph that misses a kernel is far beyond


class Recorder:
    """Makes graphs of steps, until one cannot be made."""

    def __init__(self) -> None:
        self.works = True

    def record(self, step: Step, state: Sequence[Tensor]) -> Replay | None:
        """Runs one step, and returns what repeats it; None where there is no graph of it.

        `state` is what a step has to find as it was to be run a second time.
        """
        before = [x.clone() for x in state]
        try:
            with aside(), waiting_is_an_error():
                expected = step().log_softmax(-1)
            _put_back(state, before)
            replay, logits = capture(step)
            replay()
            difference = float((logits.log_softmax(-1) - expected).abs().mean())
            if difference <= NATS:
                return replay
            log.warning("decoding without CUDA graphs: a replay differs by %.2g nats", difference)
        # Any layer of any model may do what a graph cannot hold: the step works without one.
        except RuntimeError as error:
            log.warning("decoding without CUDA graphs: %s", str(error).partition("\n")[0])
        self.works = False
        _put_back(state, before)
        step()
        return None


def _put_back(state: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    for tensor, value in zip(state, before, strict=True):
        tensor.copy_(value)


def capturable(device: torch.device) -> bool:
    return device.type == "cuda"


def capture(step: Step) -> tuple[Replay, Tensor]:
    """Not `torch.cuda.graph`: it empties torch's cache each time, and where a capture fails it
    stays on its own stream."""
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    state, graph = generator.clone_state(), torch.cuda.CUDAGraph()
    try:
        with aside():
            # Other threads may go on using CUDA.
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                logits = step()
            finally:
                graph.capture_end()
    except RuntimeError:
        generator.graphsafe_set_state(state)
        raise
    return graph.replay, logits


@contextmanager
def aside() -> Iterator[None]:
    """On a stream of its own, the same for the step that is tried and for its capture: what cuBLAS
    allocates for a stream must not belong to a graph."""
    main, side = torch.cuda.current_stream(), _side_stream(torch.cuda.current_device())
    side.wait_stream(main)
    with torch.cuda.stream(side):
        yield
    main.wait_stream(side)


@cache
def _side_stream(device: int) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)
