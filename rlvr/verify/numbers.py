"""One grammar of written numbers, and the one canonical spelling of each value."""

import re
from fractions import Fraction

LONGEST_NUMBER = 1000  # characters; anything longer is no answer a person would write

_MINUS = "-\u2212\u2010\u2011\u2013\ufe63\uff0d"
_SIGNS = re.escape(_MINUS) + "+"
_CURRENCY = r"(?:US\$|[$€£¥₹₩₽¢])"
_GROUPED = r"[1-9][0-9]{0,2}(?:(?:,[0-9]{3})+|(?:[\x20_'\u2019][0-9]{3})+)"
_SYMBOL = r"%|percent|per\x20cent|°[CF]?|\^?\\circ|\^\{\\circ\}"
_GLUED = "km|cm|mm|kg|mg|g|ml|mL|lbs?|oz|ft|hrs?|min|mph|am|pm|kWh"
_WORD = r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*(?:[²³]|\^[23]|\^\{[23]\})?"
_WORDS = rf"{_WORD}(?:(?:\x20|\x20?/\x20?){_WORD}){{0,7}}"
_UNIT = rf"\x20?(?:{_SYMBOL}|{_CURRENCY})(?:\x20{_WORDS})?|{_GLUED}|\x20{_WORDS}"

_CANONICAL = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER = re.compile(
    rf"""
    (?P<sign>[{_SIGNS}])? (?:{_CURRENCY}[ ]?)? (?P<inner_sign>[{_SIGNS}])?
    (?:
        (?:(?P<whole>[0-9]{{1,15}})[ ])? (?P<numerator>[0-9]++)[ ]?/[ ]?(?P<denominator>[0-9]++)
      | (?:(?P<integer>{_GROUPED}|[0-9]++)(?P<decimals>\.[0-9]++)?|(?P<point>\.[0-9]++))
        (?:[eE](?P<exponent>[+-]?[0-9]{{1,3}}))?
    )
    (?P<unit>{_UNIT})?
    """,
    re.VERBOSE,
)
_PARTS = (
    *("sign", "inner_sign", "unit", "denominator"),
    *("integer", "decimals", "point", "exponent"),
)
_WRAPPED = re.compile(
    r"\*\*(.+)\*\*|\*(.+)\*|__(.+)__|`(.+)`|\$\$(.+)\$\$|\$(.+)\$|\\\((.+)\\\)|\\\[(.+)\\\]"
    r"|\\boxed ?\{(.+)\}"
)
_CLOSING = frozenset("*_`$)]}")
_FRACTION = re.compile(r"\\[dt]?frac ?(?:\{(-?[0-9]+)\}|([0-9])) ?(?:\{([0-9]+)\}|([0-9]))")
_TEXT = re.compile(r"\\(?:text|mathrm|textrm|textbf|mbox)\{([^{}]*)\}")
_LATEX = {
    "\\$": "$",
    "\\%": "%",
    "{,}": ",",
    "\\!": "",
    "\\,": " ",
    "\\;": " ",
    "\\ ": " ",
    "~": " ",
}
_TRIMMED = " \t\r\n\x00\u00a0\u200b\ufeff"
_NOT_DIGITS = re.compile(r"[^0-9]+")

NOT_UNITS = frozenset(
    # alternatives, negations and hedges
    "or and nor but not no never none to than then if unless maybe perhaps possibly either neither "
    "is isn isn't wrong incorrect false about approximately roughly around so least most almost "
    "nearly instead actually wait versus vs through until between unknown unsure "
    # arithmetic
    "plus minus times over by divided multiplied squared cubed point pi tau sqrt root mod modulo "
    "factorial power log ln exp sin cos tan infinity "
    # words that change the value
    "half halves third thirds fourth fourths fifth fifths sixth sixths eighth eighths tenth tenths "
    "hundredth hundredths thousandth thousandths hundred hundreds thousand thousands million "
    "millions billion billions trillion trillions dozen dozens score lakh crore mn bn "
    # number words
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty "
    "ninety".split()
)
_UNIT_LETTERS = frozenset("mgshlLaAVWNJKCF")


def canonical_number(text: str) -> str | None:
    """The canonical spelling of the number that is the whole of `text`, or None.

    Integers as "-12", terminating decimals as "0.5", other fractions in lowest terms as "1/3":
    two texts have the same value exactly when their spellings are equal. docs/rewards.md lists
    what is read and what is refused. Linear in len(text).
    """
    if _CANONICAL.fullmatch(text):
        return text
    if len(text) > LONGEST_NUMBER:
        return None
    match = _NUMBER.fullmatch(text) or _NUMBER.fullmatch(_plain(text))
    if match is None:
        return None
    sign, inner_sign, unit, denominator, *digits = match.group(*_PARTS)
    if (sign and inner_sign) or (unit and not _is_unit(unit)):
        return None
    value = _fraction(match) if denominator else _decimal(*digits)
    negative = (sign or inner_sign or "+") in _MINUS
    return f"-{value}" if negative and value and value != "0" else value


def spell(value: Fraction) -> str:
    """`value` in canonical spelling."""
    twos, rest = _divide_out(value.denominator, 2)
    fives, rest = _divide_out(rest, 5)
    if rest != 1:
        return str(value)
    places = max(twos, fives)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    point = len(digits) - places
    sign = "-" if value < 0 else ""
    return sign + digits[:point] + ("." + digits[point:] if places else "")


def _divide_out(number: int, prime: int) -> tuple[int, int]:
    count = 0
    while number % prime == 0:
        number //= prime
        count += 1
    return count, number


def unwrap(text: str) -> str:
    """`text` without surrounding mark-up ($..$, \\boxed{..}, **..**, ...) and final full stop."""
    while True:
        text = text.strip(_TRIMMED)
        if text.endswith((".", "。")):
            text = text[:-1].rstrip(_TRIMMED)
        wrapped = _WRAPPED.fullmatch(text) if text[-1:] in _CLOSING else None
        if wrapped is None:
            return text
        text = next(part for part in wrapped.groups() if part is not None)


def _plain(text: str) -> str:
    """`text` without mark-up and irregular spaces."""
    if "\\" in text or "{" in text or "~" in text:
        text = _without_latex(text)
    return " ".join(unwrap(text).split())


def _without_latex(text: str) -> str:
    for mark, plain in _LATEX.items():
        text = text.replace(mark, plain)
    text = _TEXT.sub(r" \1", text)
    return _FRACTION.sub(_slashed, text)


def _slashed(match: re.Match[str]) -> str:
    before = match.string[: match.start()].rstrip()
    space = " " if before and before[-1].isdigit() else ""
    return f"{space}{match[1] or match[2]}/{match[3] or match[4]}"


def _is_unit(unit: str) -> bool:
    """Whether the words after a number leave its value alone."""
    words = re.split(r"[ /]+", unit.strip())
    return not any(
        word.lower() in NOT_UNITS
        or (len(word) == 1 and word.isalpha() and word not in _UNIT_LETTERS)
        for word in (w.rstrip("²³^{}23") for w in words)
    )


def _fraction(match: re.Match[str]) -> str | None:
    numerator, denominator = int(match["numerator"]), int(match["denominator"])
    if denominator == 0:
        return None
    if match["whole"] is None:
        return spell(Fraction(numerator, denominator))
    if numerator >= denominator:
        return None
    return spell(int(match["whole"]) + Fraction(numerator, denominator))


def _decimal(
    integer: str | None, decimals: str | None, point: str | None, exponent: str | None
) -> str:
    integer = integer or ""
    if not integer.isdigit():
        integer = _NOT_DIGITS.sub("", integer)
    decimals = (decimals or point or "")[1:]
    if exponent:
        digits = Fraction(int(integer + decimals), 10 ** len(decimals))
        return spell(digits * Fraction(10) ** int(exponent))
    integer, decimals = integer.lstrip("0") or "0", decimals.rstrip("0")
    return f"{integer}.{decimals}" if decimals else integer
