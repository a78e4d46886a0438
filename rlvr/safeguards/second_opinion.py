"""A second opinion on numeric answers: another reading of the text, in other code.

It takes the last number of the completion, wherever and however it stands. As a reward it would be
easy to game; its use is that no fault is shared with the verifiers a model is trained against.
"""

import re
from fractions import Fraction

TAIL = 2_000  # characters; the last number of a longer text is in its tail
RELATIVE_TOLERANCE = Fraction(1, 10_000)

_LATEX_FRACTION = re.compile(r"\\[dt]?frac\{(-?[0-9]{1,30})\}\{([0-9]{1,30})\}")
_NUMBER = re.compile(
    r"(?<![\w^.])"  # not the end of a word (CO2), an exponent (cm^2) or another number
    r"(?P<sign>(?<![\w.)])[-\u2212\u2013])?(?:US\$|[$\u20ac\u00a3])?(?P<inner>[-\u2212\u2013])?"
    r"(?P<value>(?:[0-9]{1,3}(?:[, _'][0-9]{3})+(?![0-9])|[0-9]{1,300})(?:\.[0-9]{1,300})?"
    r"|\.[0-9]{1,300})"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,3})|[ ]?/[ ]?(?P<denominator>[0-9]{1,30}))?"
)
_SEPARATORS = str.maketrans("", "", ", _'")


def last_number(text: str) -> Fraction | None:
    """The last number of `text` as a value, or None where there is none."""
    tail = _LATEX_FRACTION.sub(r"\1/\2", text[-TAIL:].replace("{,}", ","))
    found = [*_NUMBER.finditer(tail)]
    return _value(found[-1]) if found else None


def _value(found: re.Match[str]) -> Fraction | None:
    value = Fraction(found["value"].translate(_SEPARATORS))
    if found["denominator"]:
        if int(found["denominator"]) == 0:
            return None
        value /= int(found["denominator"])
    value *= Fraction(10) ** int(found["exponent"] or 0)
    return -value if found["sign"] or found["inner"] else value


def gold_number(gold: object) -> Fraction | None:
    """The value of a canonical gold, or None where it is not a number."""
    try:
        return Fraction(gold) if isinstance(gold, str) else None
    except (ValueError, ZeroDivisionError):
        return None


def agrees(text: str, gold: Fraction) -> bool:
    """Whether the last number of `text` is `gold`, but for rounding in the fifth digit."""
    found = last_number(text)
    return found is not None and abs(found - gold) <= RELATIVE_TOLERANCE * abs(gold)
