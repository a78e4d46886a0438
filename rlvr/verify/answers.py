"""Where a completion states its answer: the one extractor of format and correctness."""

import re

from rlvr.errors import UserError
from rlvr.verify.markup import LONGEST_ANSWER, closing_brace, is_blank

REFERENCE_PREFIX = "#### The final answer is"

_GAP = r"[^\S\n]"  # white space within a line
_BLANK = re.compile(r"\s*+")
_MARKS = r"[*_`]"
_MARK_RUN = re.compile(rf"{_MARKS}+")
# What opens an answer of several lines, and what ends it.
_DISPLAYS = {r"\[": r"\]", "$$": "$$", "```": "```"}
_DISPLAY = re.compile(r"(\\\[|\$\$|```(?:\w*(?=\s))?)")


def spoken(completion: str) -> str:
    """The part of a completion that counts: after its last closed thought, before an open one."""
    if "think>" not in completion:
        return completion
    return completion.rpartition("</think>")[2].partition("<think>")[0]


class AnswerLines:
    """Finds what stands after `prefix` at the start of a line. Linear in the text.

    Case, the amount of white space and emphasis (**, _, `) do not matter, a colon may follow, and
    an answer may stand on the next line, or as display mathematics or code on the next few.
    """

    def __init__(self, prefix: str) -> None:
        words = _MARK_RUN.sub("", prefix).split()
        if not words:
            raise UserError("answer_prefix is empty: write the words that stand before an answer.")
        between = rf"{_MARKS}*+{_GAP}++{_MARKS}*+".join(re.escape(word) for word in words)
        start = rf"{_GAP}*+(?:>{_GAP}*+)?{_MARKS}*+{_GAP}*+"
        # An emphasis that opens behind the prefix belongs to the answer, one that closes does not.
        end = rf"(?:{_MARKS}++(?={_GAP}|:|$))?{_GAP}*+:?(?:{_MARKS}++(?={_GAP}|$))?{_GAP}*+"
        marker = re.compile(start + between + end, re.IGNORECASE | re.MULTILINE)
        self._match_marker = marker.match
        self._anchor = re.compile(re.escape(words[0]), re.IGNORECASE)
        self._literal = words[0] if words[0].upper() == words[0].lower() else None

    def __call__(self, text: str) -> list[str]:
        """What stands after the prefix of each answer line, stripped and never empty."""
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        answers = []
        position = self._find(text, 0)
        while position >= 0:
            marker = self._match_marker(text, text.rfind("\n", 0, position) + 1)
            end = text.find("\n", position)
            if marker:
                answer = text[marker.end() : end if end >= 0 else None].strip()
                start = marker.end() if answer else self._next_line(text, end)
                answer = answer or text[start : _line_end(text, start)].strip()
                if answer.startswith(tuple(_DISPLAYS)):
                    answer = _display(text, start) or answer
                if answer:
                    answers.append(_left_open(marker[0]) + answer)
            position = self._find(text, end) if end >= 0 else -1
        return answers

    def _find(self, text: str, start: int) -> int:
        if self._literal:
            return text.find(self._literal, start)
        found = self._anchor.search(text, start)
        return found.start() if found else -1

    def _next_line(self, text: str, end: int) -> int:
        """Start of the next line that is not blank, unless it is an answer line itself."""
        if end < 0:
            return len(text)
        start = _BLANK.match(text, end).end()  # type: ignore[union-attr]  # matches anything
        start = text.rfind("\n", 0, start) + 1
        return len(text) if self._match_marker(text, start) else start


def _left_open(marker: str) -> str:
    """The emphasis that opens in an answer line's prefix and goes on behind it."""
    open_runs: list[str] = []
    for run in _MARK_RUN.findall(marker):
        if open_runs and open_runs[-1] == run:
            open_runs.pop()
        else:
            open_runs.append(run)
    return "".join(open_runs)


def _display(text: str, start: int) -> str | None:
    """The content of the display at `start`, in one line, and what follows it on its last line."""
    opened = _DISPLAY.search(text, start)
    if opened is None:
        return None
    closing = _DISPLAYS[opened[0][:3] if opened[0].startswith("`") else opened[0]]
    end = text.find(closing, opened.end(), opened.end() + LONGEST_ANSWER)
    if end < 0 or "\n" not in text[start:end]:
        return None
    rest = text[end + len(closing) : _line_end(text, end)]
    space = "" if rest.startswith((".", ",", ";")) else " "
    return " ".join(f"{text[opened.end() : end].strip()}{space}{rest}".split())


class BoxedAnswers:
    """Finds the contents of every outermost \boxed{...}. Linear in the text."""

    _open = re.compile(r"\\(?:f?boxed)\s*+\{")

    def __call__(self, text: str) -> list[str]:
        """What stands in the braces, stripped and never blank; an open one is no answer."""
        answers, start = [], 0
        while found := self._open.search(text, start):
            start = closing_brace(text, found.end())
            if start < 0:
                break
            answers.append(text[found.end() : start])
        return [answer.strip() for answer in answers if not is_blank(answer)]


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end
