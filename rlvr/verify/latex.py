"""What a LaTeX answer says, as far as that can be told without mathematics.

math-verify is generous: it reads "14 4" as a sum, "19=18" and "18\\text{ million}" as 18. Here
stands what an answer must be before it is asked at all.
"""

import re

from rlvr.verify.markup import plain_spaces, visible
from rlvr.verify.units import NUMBER_WORDS, leaves_value

_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|mathrm|mathbf|mbox|operatorname) ?\{([^{}]*)\}"
)
_STYLE = re.compile(r"\\(?:mathbf|mathit|boldsymbol|bm|bf|rm|limits|[bB]igg?[lrm]?)(?![A-Za-z])")
_COMMAND = re.compile(r"\\[A-Za-z]+(?:\{[A-Za-z ]*\})?")
_SPACE_OF_ONE_NUMBER = re.compile(r"(?<=[0-9.]) (?=[0-9.])")
_ARGUMENT = re.compile(r"([_^])\{(\w)\}")
_PRODUCT = re.compile(r"(?<=[0-9)])(?=\(-?[0-9.]+\))")

_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc log exp sqrt max min gcd lcm det arcsin arccos arctan".split()
)
# Products of three letters (abc) are common in mathematics, of four hardly.
_SHORT_WORDS = NUMBER_WORDS | frozenset("yes not and the all any odd but nor may now".split())
_WORD = re.compile(r"[A-Za-z]{3,}|[0-9][A-Za-z]+[0-9]")
_YES_OR_NO = re.compile(r"yes|no", re.IGNORECASE)
_LETTER = re.compile(r"\(?([A-Za-z])[).]?")
_CONJUNCTION_IN_TEXT = re.compile(r",?\s*\\text ?\{\s*(?:and|or)\s*\}")
_BARE_CONJUNCTION = re.compile(r" (?:and|or) ")
_SPLIT_TOKEN = re.compile(r"\\.|.", re.DOTALL)
_CONJUNCTION = re.compile(r",?\s*(?:and|or)\s*|,", re.IGNORECASE)

_RELATION = re.compile(r"[=<>≤≥≠≈]|\\(?:leq?|geq?|lt|gt|neq?|leqslant|geqslant|in)(?![A-Za-z])")
_NAME = r"(?:[A-Za-z]|\\(?!pi|in)[a-z]+)(?:_(?:\w|\{\w+\}))?(?:\([A-Za-z]\))?"
_NAMED = re.compile(rf"(^|,) ?{_NAME} ?(?:=|\\in(?![A-Za-z])) ?")
# What only the gold may introduce: it says "about", "and so on", or more than one thing.
_VAGUE = re.compile(
    r"\\(?:approx|sim|simeq|cong|l?dots|cdots|equiv|pmod|bmod|mod|to|rightarrow|Rightarrow|implies"
    r"|iff|neq?)(?![A-Za-z])|\.\.|[≈≠?…&]"
)
_TEXT_ONLY = re.compile(r"[0-9}] ?_|:|[0-9] ?'|(?<=[0-9])e[0-9]")  # 101_2, 1:30, 18', 1e1+1

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[0-9]+(?:\.[0-9]*)?|\.[0-9]+|\S", re.DOTALL)
_ARGUMENTS = {
    **dict.fromkeys(["\\frac", "\\dfrac", "\\tfrac", "\\cfrac"], 2),
    **dict.fromkeys(["\\binom", "\\dbinom", "\\tbinom"], 2),
    **dict.fromkeys(["\\sqrt", "\\overline", "\\underline", "\\bar", "\\hat", "\\vec"], 1),
    **dict.fromkeys(["\\begin", "\\end", "\\mathbb", "\\mathcal", "\\mathrm", "\\text"], 1),
    **dict.fromkeys(["\\operatorname", "\\overrightarrow", "^", "_"], 1),
}
_OPTION = re.compile(r"(\\sqrt) ?\[[^\]]*\]|(?<=\{array\}) ?\{[lcr|]*\}")
_VALUES = re.compile(r"[A-Za-z0-9.!)'%]|\\(?:pi|infty|theta|alpha|beta|phi|circ|degree|%)")
_FRACTION_OF_NUMBERS = re.compile(
    r"(?<=[0-9})]) ?\\[dt]?frac ?(?:\{-?[0-9.]+\}|[0-9]) ?(?:\{[0-9.]+\}|[0-9])"
)
_NUMERIC_COMMANDS = frozenset(
    "frac dfrac tfrac cfrac sqrt cdot times div pi binom dbinom tbinom log ln lg exp sin cos tan "
    "cot sec csc arcsin arccos arctan lfloor rfloor lceil rceil circ".split()
)
_NUMERIC = re.compile(r"\\([A-Za-z]+)|([A-Za-z,;&=<>\\])")
_OPERATION = re.compile(r"[-+*/^!|=<>,;A-Za-z]")
_DIVIDES_BY_ZERO = re.compile(r"(?:/ ?|frac ?(?:\{[^{}]*\}|[0-9]) ?)(?:\{ ?0+ ?\}|0+(?![0-9.]))")


def tidy(latex: str) -> str:
    """One spelling of what LaTeX shows: single spaces, no sizes, no dollar signs around parts."""
    text = plain_spaces(visible(latex)).replace("{,}", "").replace("dfrac", "frac")
    text = _STYLE.sub("", text).replace("tfrac", "frac").replace(r"\$", "").replace("$", " ")
    text = text.replace("π", r"\pi ").replace("\u2212", "-")
    return " ".join(text.split())


def shown(tidied: str) -> str:
    """Tidied LaTeX as the characters one sees: equal means the same answer.

    Text commands and white space go, but the space between two numbers stays.
    """
    text = " ".join(_TEXT.sub(r"\1", tidied).split())
    text = _ARGUMENT.sub(r"\1\2", text)
    text = _SPACE_OF_ONE_NUMBER.sub("\0", text).replace(" ", "")
    letter = _LETTER.fullmatch(text)
    return letter[1] if letter else text


def spelled(tidied: str) -> str:
    """Tidied LaTeX as it is compared without mathematics: words in any case, symbols in theirs."""
    text = shown(tidied)
    return text.casefold() if len(text) > 1 and is_words(tidied) else text


def is_words(tidied: str) -> bool:
    """Whether it is prose, which math-verify would read as a product of letters."""
    if _TEXT.fullmatch(tidied) or _YES_OR_NO.fullmatch(tidied):
        return True
    bare = _COMMAND.sub(" ", _TEXT.sub(" ", tidied))
    return any(_is_word(word) for word in _WORD.findall(bare))


def _is_word(word: str) -> bool:
    if word.isalpha() and len(word) == 3:
        return word.lower() in _SHORT_WORDS
    return word.lower() not in _FUNCTIONS


def without_units(tidied: str) -> str | None:
    """Tidied LaTeX without text that leaves its value alone; None when other text is in it."""
    pieces, start = [], 0
    for text in _TEXT.finditer(tidied):
        word = text[1].strip()
        pieces.append(tidied[start : text.start()])
        start = text.end()
        if _CONJUNCTION.fullmatch(word):
            pieces.append(", ")
        elif len(word) == 1 or word in _FUNCTIONS:
            pieces.append(f" {word} " if len(word) == 1 else text[0])
        elif word:
            rest = _TEXT.sub(r"\1", tidied[start:])
            if not leaves_value(f" {' '.join(f'{word}{rest}'.split())}", currency=False):
                return None
            start = len(tidied)
            break
    return " ".join(_BARE_CONJUNCTION.sub(", ", "".join([*pieces, tidied[start:]])).split())


def members(tidied: str) -> tuple[str, list[str], str]:
    r"""The members of a set, a tuple or a plain list, between what opens and closes it.

    `\{1, 2\}` gives `("\{", ["1", "2"], "\}")`; what is no list is its only member.
    """
    text = _CONJUNCTION_IN_TEXT.sub(",", _NAMED.sub(r"\1", tidied))
    for opening, closing in ((r"\{", r"\}"), ("(", ")")):
        inner = text.removeprefix(opening).removesuffix(closing)
        if len(inner) == len(text) - len(opening + closing) and (parts := _split(inner)):
            return opening, parts, closing
    return "", _split(text) or [text], ""


def _split(text: str) -> list[str]:
    """The parts between commas outside of brackets; none when a bracket closes that is not open."""
    parts, depth = [""], 0
    for token in _SPLIT_TOKEN.findall(text):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token, 0)
        if depth < 0:
            return []
        if token == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts]


def without_names(tidied: str) -> str:
    r"""x = 5 as 5, A \in [1, 2] as [1, 2]; unchanged when that leaves another relation."""
    bare = _NAMED.sub(r"\1", tidied)
    return tidied if _RELATION.search(bare) else bare


def relations(tidied: str) -> int:
    return len(_RELATION.findall(tidied))


def is_clear(answer: str, gold: str) -> bool:
    """Whether there is only one way to read a tidied answer, which a prefix of it must not decide.

    Refused are juxtaposed numbers, groups without a reason, division by zero, and words like
    "about" in signs, unless the gold has them.
    """
    if not {m[0] for m in _VAGUE.finditer(answer)} <= {m[0] for m in _VAGUE.finditer(gold)}:
        return False
    if _DIVIDES_BY_ZERO.search(answer) or _FRACTION_OF_NUMBERS.search(answer):
        return False
    return not _has_juxtaposed_numbers(answer)


def _has_juxtaposed_numbers(tidied: str) -> bool:
    """Whether a number stands right behind a value ("14 4", "x 2"), or a group stands alone."""
    after_value, awaited = False, 0  # arguments that the last command still takes
    groups: list[tuple[bool, int]] = []  # for each open brace: of an operator, arguments after it
    operator = False
    for token in _TOKEN.findall(_OPTION.sub(r"\1", tidied)):
        if token in _ARGUMENTS:
            operator = token in (r"\begin", r"\end") or (token == "_" and not after_value)
            after_value, awaited = after_value and token in "^_", _ARGUMENTS[token]
        elif token == "{":
            if not awaited:
                return True
            groups.append((operator, awaited - 1))
            after_value, awaited = False, 0
        elif token == "}":
            if not groups:
                return True
            operator, awaited = groups.pop()
            after_value = not operator
        elif awaited and token != "[":
            # \frac12 is one token of two arguments, 2^10 one of its own
            awaited -= min(awaited, len(token) if token.isdigit() else 1)
            after_value = not operator
        else:
            if token[0] in "0123456789." and after_value:
                return True
            after_value = bool(_VALUES.fullmatch(token)) or token[0].isdigit()
    return bool(groups)


def has_operation(tidied: str) -> bool:
    """Whether it is more than signs: an operation, a list or a relation."""
    return bool(_OPERATION.search(tidied))


def is_comparable(answer: str, gold: str, numeric: bool) -> bool:
    """Whether answer and gold are of one kind, so that mathematics decides whether they are equal.

    `numeric`: the gold is a number, so that the answer must consist of numbers and operations.
    """
    if numeric and not _is_arithmetic(answer):
        return False
    if _TEXT_ONLY.search(answer) or _TEXT_ONLY.search(gold):
        return False
    if relations(answer) and not relations(gold):
        return False
    return not _has_other_case(answer, gold)


def _is_arithmetic(tidied: str) -> bool:
    for command, sign in _NUMERIC.findall(tidied):
        if (command and command not in _NUMERIC_COMMANDS) or (sign and sign not in "ei"):
            return False
    return True


def _has_other_case(answer: str, gold: str) -> bool:
    """Whether a letter of the gold is in the other case, to which math-verify is blind."""
    said, asked = (set(re.findall("[A-Za-z]", _COMMAND.sub(" ", text))) for text in (answer, gold))
    return any(letter.swapcase() in asked for letter in said - asked)


def with_products(tidied: str) -> str:
    """2(9) as a product: math-verify takes it for a mixed number."""
    return _PRODUCT.sub(r"\\cdot ", tidied)
