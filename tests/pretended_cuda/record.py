"""What a GPU would have been asked to do, each with the line of Python that asked."""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import rlvr

OURS = str(Path(rlvr.__file__).parent)
THEIRS = ("/transformers/", "/trl/", "/peft/", "/accelerate/")

Calls = Counter[tuple[str, str]]  # (what, line)


@dataclass
class Record:
    kernels: Calls = field(default_factory=Counter)
    # The host waits: values, sizes that depend on values, copies to the host.
    waits: Calls = field(default_factory=Counter)
    # From pageable memory, which is staged before the call returns; hidden ones among them.
    copies: Calls = field(default_factory=Counter)
    refuses: bool = False  # either: they are errors
    refused: bool = False  # whether there was such an error

    def clear(self) -> None:
        for calls in (self.kernels, self.waits, self.copies):
            calls.clear()

    def stops(self) -> int:
        return self.waits.total() + self.copies.total()

    def refuse_more_than(self, stops: int) -> None:
        if self.refuses and self.stops() > stops:
            self.refused = True
            raise RuntimeError("called a synchronizing CUDA operation")

    def ours(self, calls: Calls) -> Calls:
        """Those that a line of this package asked for."""
        return Counter({key: n for key, n in calls.items() if key[1].startswith("rlvr/")})


def line() -> str:
    """The innermost line of this package on the stack; one of a library where there is none."""
    frame, library = sys._getframe(1), None
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(OURS):
            return f"rlvr{name[len(OURS) :]}:{frame.f_lineno} {frame.f_code.co_name}"
        if library is None and any(part in name for part in THEIRS):
            library = f"{name.split('site-packages/')[-1]}:{frame.f_lineno} {frame.f_code.co_name}"
        frame = frame.f_back
    return library or "?"


RECORD = Record()
