"""Takes the mark-up off an answer: LaTeX, Markdown, display mathematics.

Nothing here runs on text longer than `LONGEST_ANSWER`, so that no pattern needs more than care.
"""

import re

LONGEST_ANSWER = 1000  # characters; anything longer is no answer a person would write
EDGE = "\x01"  # stands where mark-up ended or began: numbers do not go on across it

_TRIMMED = " \t\r\n\x00\u00a0\u200b\ufeff"
_DEEPEST = 8  # layers of mark-up, and of braces

_SPACES = {
    r"\,": " ",
    r"\;": " ",
    r"\:": " ",
    r"\ ": " ",
    "~": " ",
    r"\!": "",
    r"\left": "",
    r"\right": "",
    r"\displaystyle": "",
    r"\qquad": " ",
    r"\quad": " ",
}
_SPACE = re.compile(
    r"(?<!\\)\\[,;: ]|(?<=[^\s$({])~|\\!|\\(?:left|right|displaystyle|q?quad)(?![A-Za-z])"
)
_PHANTOM = re.compile(r"\\[hv]?phantom ?\{(?:[^{}]++|\{[^{}]*+\})*+\}")
_FRACTION = re.compile(r"\\[dtc]?frac ?(?:\{(-?[0-9]+)\}|([0-9])) ?(?:\{([0-9]+)\}|([0-9]))")
_STYLED = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|bold|boldsymbol|bm"
    r"|mbox|operatorname|underline|f?boxed) ?\{([^{}]*)\}"
)
_BETWEEN_DELIMITERS = (
    r"(?<![\\$])\$\$((?:[^$\\]|\\.)+)\$\$(?!\$)|(?<![\\$])\$((?:[^$\\]|\\.)+)\$(?!\$)"
    r"|\\\(((?:(?!\\\)).)+)\\\)|\\\[((?:(?!\\\]).)+)\\\]"
)
_MATH = re.compile(_BETWEEN_DELIMITERS)
_EMPHASIS = re.compile(r"(?<![A-Za-z0-9])(\*{1,3}|_{1,3}|`{1,3})(?=\S)([^*_`]+)(?<=\S)\1(?![0-9])")
_BEFORE_WORD = re.compile(rf"(?<!{EDGE}){EDGE}++(?=[^\W\d_])")
_WRAPPED = re.compile(
    rf"(\*{{1,3}})([^*]+)\1|(_{{1,3}})([^_]+)\3|(`{{1,3}})([^`]+)\5|{_BETWEEN_DELIMITERS}"
)
_UNSEEN = re.compile(r"\\(?:text|mbox|mathrm) ?(?=\{)|\\hspace\*?\{[^{}]*\}|[\s{}$~]")
_BOX = re.compile(r"\\f?boxed ?\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def trimmed(text: str) -> str:
    """`text` without white space and one full stop at its end."""
    text = text.strip(_TRIMMED)
    return text[:-1].rstrip(_TRIMMED) if text.endswith((".", "。")) else text


def unwrap(text: str) -> str:
    """`text` without the mark-up around the whole of it ($..$, \\boxed{..}, **..**, ...).

    Linear: text that is too long to be an answer is only trimmed.
    """
    text = trimmed(text)
    for _ in range(_DEEPEST if len(text) <= LONGEST_ANSWER else 0):
        inner = _inner(text)
        if inner is None:
            break
        text = trimmed(inner)
    return text


def _inner(text: str) -> str | None:
    if wrapped := _WRAPPED.fullmatch(text):
        return next(part for part in reversed(wrapped.groups()) if part is not None)
    box = _BOX.match(text)
    if box and closing_brace(text, box.end()) == len(text) - 1:
        return text[box.end() : -1]
    return None


def without_emphasis(text: str) -> str:
    """`text` without Markdown's emphasis around the whole of it."""
    return _EMPHASIS.sub(r"\2", text) if _EMPHASIS.fullmatch(text) else text


def plain(text: str) -> str:
    """`text` without mark-up around any part of it, which leaves an `EDGE` where it stood.

    A fraction becomes 1/2, sizes and spaces of LaTeX become a space, escaped signs themselves.
    """
    text = " ".join(text.split())
    if "\\" in text or "{" in text or "~" in text:
        text = visible(text).replace("{,}", ",")
        text = _FRACTION.sub(_slashed, plain_spaces(text))
    text = _repeated(_STYLED, rf"{EDGE}\1{EDGE}", text)
    text = _MATH.sub(lambda m: f"{EDGE}{m[1] or m[2] or m[3] or m[4]}{EDGE}", text)
    text = text.replace(r"\$", "$").replace(r"\%", "%").replace(r"\#", "#")
    text = _repeated(_EMPHASIS, rf"{EDGE}\2{EDGE}", text)
    return " ".join(text.strip(_TRIMMED + EDGE).split())


def _repeated(pattern: re.Pattern[str], replacement: str, text: str) -> str:
    """From the inside out, as far as there are layers."""
    for _ in range(_DEEPEST):
        text, found = pattern.subn(replacement, text)
        if not found:
            break
    return text


def _slashed(match: re.Match[str]) -> str:
    before = match.string[: match.start()].rstrip()
    space = " " if before and before[-1].isdigit() else ""
    return f"{space}{match[1] or match[2]}/{match[3] or match[4]}"


def without_edges(tail: str) -> str:
    """What follows a number, with its words still apart: "|12| eggs" and "12| eggs|" are one."""
    return re.sub(" +", " ", _BEFORE_WORD.sub(" ", tail).replace(EDGE, ""))


def visible(latex: str) -> str:
    """LaTeX without what takes space and shows nothing."""
    return _PHANTOM.sub(" ", latex) if "phantom" in latex else latex


def plain_spaces(latex: str) -> str:
    """LaTeX with a space for every command of space, and without the commands of size."""
    return _SPACE.sub(lambda m: _SPACES[m[0]], latex)


def is_blank(latex: str) -> bool:
    """Whether nothing of it can be seen."""
    if len(latex) > LONGEST_ANSWER:
        return False
    return not _UNSEEN.sub("", _SPACE.sub("", visible(latex)))


def closing_brace(text: str, start: int) -> int:
    """Index of the brace that closes the one before `start`; -1 when it is never closed."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return brace.start()
    return -1
