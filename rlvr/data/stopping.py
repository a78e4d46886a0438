"""The one stop rule: where a completion ends, for sampler, rewards and evaluation alike."""

import re
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class StopRule:
    """A completion ends before the first of `strings`, or with its first complete answer line.

    Base models do not emit an end-of-sequence token after a few-shot prompt: they run on into an
    invented next question. `answer_prefix`, when given, also ends a completion at the line break
    after the first line that starts with it.
    """

    strings: tuple[str, ...] = ()
    answer_prefix: str | None = None

    @cached_property
    def _pattern(self) -> re.Pattern[str] | None:
        parts = [re.escape(s) for s in self.strings]
        if self.answer_prefix:
            parts.append(rf"(?:\A|(?<=\n)){re.escape(self.answer_prefix)}[^\n]*(?P<end>\n)")
        return re.compile("|".join(parts)) if parts else None

    def find(self, text: str) -> int | None:
        """Index at which `text` is to be cut, or None while it may go on. Linear in len(text)."""
        match = self._pattern.search(text) if self._pattern else None
        if match is None:
            return None
        return match.start("end") if self.answer_prefix and match["end"] else match.start()

    def cut(self, text: str) -> str:
        """`text` up to where it stops; unchanged when it never does."""
        return text[: self.find(text)]

    @property
    def last_characters(self) -> frozenset[str]:
        """Only a token that contains one of these can complete a stop: all others need no check."""
        ends = {s[-1] for s in self.strings if s}
        return frozenset(ends | {"\n"} if self.answer_prefix else ends)
