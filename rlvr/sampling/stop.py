"""The one stop rule: where a completion ends. Only the sampling engines apply it."""

import re
from dataclasses import dataclass
from functools import cached_property

# Opened by a line of its own; while it is open nothing else is taken for the answer line.
_DISPLAY = (
    r"\\\[[^\S\n]*\n(?:(?!\\\]).)*+\\\][^\n]*|\$\$[^\S\n]*\n(?:(?!\$\$).)*+\$\$[^\n]*"
    r"|(?!(?:\\\[|\$\$)[^\S\n]*\n)"
)
_THOUGHT = re.compile(r"<think>(?:(?!</think>).)*+(?:</think>)?", re.DOTALL)


@dataclass(frozen=True)
class StopRule:
    """A completion ends before the first of `strings`, or with its first complete answer line.

    Base models do not emit an end-of-sequence token after a few-shot prompt: they run on into an
    invented next question. `answer_prefix`, when given, also ends a completion at the line break
    after the first line that starts with it. What stands inside `<think>` ends nothing: a model
    may quote its prompt, and try answers, while it thinks.
    """

    strings: tuple[str, ...] = ()
    answer_prefix: str | None = None

    @cached_property
    def _answer_line(self) -> re.Pattern[str] | None:
        """The prefix and the first line with text from there on, which may be the next one, or a
        displayed formula, which ends with the line that closes it."""
        if not self.answer_prefix:
            return None
        return re.compile(rf"{re.escape(self.answer_prefix)}\s*(?:{_DISPLAY}\S[^\n]*)\n", re.DOTALL)

    def find(self, text: str, thinking: bool = False) -> int | None:
        """Index at which `text` is to be cut, or None while it may go on. Linear in len(text).

        `thinking` says that the prompt has opened a thought. The stop that is complete first
        counts, so that streamed and finished text agree.
        """
        if thinking or "<think>" in text:
            text = _without_thoughts(text, thinking)
        starts = ((text.find(s), s) for s in self.strings)
        stops = [(start + len(s), start) for start, s in starts if start >= 0]  # (end, cut)
        if end := self._answer_end(text):
            stops.append((end, end - 1))
        return min(stops)[1] if stops else None

    def _answer_end(self, text: str) -> int | None:
        """End of the first answer line; finding the prefix first is five times faster."""
        if not self._answer_line or not self.answer_prefix:
            return None
        start = text.find(self.answer_prefix)
        while start > 0 and text[start - 1] != "\n":
            start = text.find(self.answer_prefix, start + 1)
        line = self._answer_line.match(text, start) if start >= 0 else None
        return line.end() if line else None

    def cut(self, text: str, thinking: bool = False) -> str:
        """`text` up to where it stops; unchanged when it never does."""
        return text[: self.find(text, thinking)]

    @property
    def last_characters(self) -> frozenset[str]:
        """Only a token that contains one of these can complete a stop: all others need no check."""
        ends = {s[-1] for s in self.strings if s}
        return frozenset(ends | {"\n"} if self.answer_prefix else ends)


def opens_thought(text: str) -> bool:
    """Whether `text` ends inside `<think>`."""
    return text.rfind("<think>") > text.rfind("</think>")


def _without_thoughts(text: str, thinking: bool) -> str:
    """Thoughts blanked out by what no stop holds, so that every index stays what it was."""
    if thinking:
        end = text.find("</think>")
        end = len(text) if end < 0 else end + len("</think>")
        text = "\0" * end + text[end:]
    return _THOUGHT.sub(lambda thought: "\0" * len(thought[0]), text)
