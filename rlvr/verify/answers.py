"""Where a completion states its answer: the one extractor of format and correctness."""

import re

from rlvr.errors import UserError
from rlvr.sampling.stop import StopRule

REFERENCE_PREFIX = "#### The final answer is"
RUN_ON = StopRule(("\nQuestion:",))

_GAP = r"[^\S\n]"  # white space within a line
_BLANK = re.compile(r"\s*+")


def text_of(completion: object) -> str:
    """The text a completion is judged by: itself, or its last assistant message's text parts.

    Anything that is not text (None, bytes, an image part) is the empty string.
    """
    if isinstance(completion, str):
        return completion
    if isinstance(completion, dict):
        return _content(completion.get("content"))
    if not isinstance(completion, (list, tuple)):
        return ""
    messages = [m for m in completion if isinstance(m, dict)]
    spoken = [m for m in messages if m.get("role", "assistant") == "assistant"]
    return _content(spoken[-1].get("content")) if spoken else ""


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        return ""
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def spoken(completion: object, stop: StopRule | None) -> str:
    """The part of a completion that counts: up to the stop, then after its last closed thought."""
    text = completion if isinstance(completion, str) else text_of(completion)
    if stop is not None:
        text = text[: stop.find(text)]
    if "think>" in text:
        text = text.rpartition("</think>")[2].partition("<think>")[0]
    return text


class AnswerLines:
    """Finds what stands after `prefix` at the start of a line. Linear in the text.

    Case and the amount of white space do not matter, a colon may follow, and an answer may stand
    on the next line.
    """

    def __init__(self, prefix: str) -> None:
        words = prefix.split()
        if not words:
            raise UserError("answer_prefix is empty: write the words that stand before an answer.")
        between = f"{_GAP}++".join(re.escape(word) for word in words)
        marker = re.compile(f"{_GAP}*+{between}{_GAP}*+:?{_GAP}*+", re.IGNORECASE)
        self._match_marker = marker.match
        self._anchor = re.compile(re.escape(words[0]), re.IGNORECASE)
        self._literal = words[0] if words[0].upper() == words[0].lower() else None

    def __call__(self, text: str) -> list[str]:
        """The rest of each answer line, stripped and never empty."""
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        answers = []
        position = self._find(text, 0)
        while position >= 0:
            marker = self._match_marker(text, text.rfind("\n", 0, position) + 1)
            end = text.find("\n", position)
            if marker:
                answer = text[marker.end() : end if end >= 0 else None].strip()
                answer = answer or self._next_line(text, end)
                if answer:
                    answers.append(answer)
            position = self._find(text, end) if end >= 0 else -1
        return answers

    def _find(self, text: str, start: int) -> int:
        if self._literal:
            return text.find(self._literal, start)
        found = self._anchor.search(text, start)
        return found.start() if found else -1

    def _next_line(self, text: str, end: int) -> str:
        """The next line that is not blank, unless it is an answer line itself."""
        if end < 0:
            return ""
        start = _BLANK.match(text, end).end()  # type: ignore[union-attr]  # matches anything
        start = text.rfind("\n", 0, start) + 1
        if self._match_marker(text, start):
            return ""
        return text[start : _line_end(text, start)].strip()


class BoxedAnswers:
    """Finds the contents of every outermost \\boxed{...}. Linear in the text."""

    _open = re.compile(r"\\(?:f?boxed)\s*+\{")
    _brace = re.compile(r"\\.|[{}]", re.DOTALL)

    def __call__(self, text: str) -> list[str]:
        """What stands in the braces, stripped and never empty; an open one is no answer."""
        answers, start = [], 0
        while found := self._open.search(text, start):
            start = self._close(text, found.end())
            if start < 0:
                break
            answers.append(text[found.end() : start].strip())
        return [answer for answer in answers if answer]

    def _close(self, text: str, start: int) -> int:
        depth = 1
        for brace in self._brace.finditer(text, start):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if depth == 0:
                return brace.start()
        return -1


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end
