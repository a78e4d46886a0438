"""One grammar of written numbers, and the one canonical spelling of each value."""

import re
from fractions import Fraction

from rlvr.verify.markup import EDGE, LONGEST_ANSWER, plain, without_edges
from rlvr.verify.units import leaves_value

_MINUS = "-\u2212\u2010\u2011\u2013\ufe63\uff0d"
_SIGNS = re.escape(_MINUS) + "+"
_CURRENCY = r"(?:US\$|[$€£¥₹₩₽¢])"
_GROUPED = r"[1-9][0-9]{0,2}(?:(?:,[0-9]{3})+|(?:[\x20_'\u2019][0-9]{3})+)"
_POWER = "[+-]?[0-9]{1,3}"
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")

_CANONICAL = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER = re.compile(
    rf"""
    (?P<sign>[{_SIGNS}])? (?P<currency>{_CURRENCY}[ {EDGE}]?)? (?P<inner_sign>[{_SIGNS}])?
    (?:
        (?:(?P<whole>[0-9]{{1,15}})[ ])? (?P<numerator>[0-9]++)[ ]?/[ ]?(?P<denominator>[0-9]++)
      | (?:(?P<integer>{_GROUPED}|[0-9]++)(?P<decimals>\.[0-9]++)?|(?P<point>\.[0-9]++))
        (?:
            [eE](?P<exponent>{_POWER})
          | [ ]?(?:\\times|\\cdot|[\u00d7·*x])[ ]?10
            (?:[ ]?\^[ ]?(?P<power>{_POWER}|\{{{_POWER}\}})|(?P<raised>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,3}}))
        )?
    )
    (?P<tail>.*)
    """,
    re.VERBOSE | re.DOTALL,
)
_PARTS = (
    *("sign", "currency", "inner_sign", "tail", "denominator"),
    *("integer", "decimals", "point", "exponent", "power", "raised"),
)
_NOT_DIGITS = re.compile(r"[^0-9]+")


def canonical_number(text: str) -> str | None:
    """The canonical spelling of the number that is the whole of `text`, or None.

    Integers as "-12", terminating decimals as "0.5", other fractions in lowest terms as "1/3":
    two texts have the same value exactly when their spellings are equal. docs/rewards.md lists
    what is read and what is refused. Linear in len(text).
    """
    if _CANONICAL.fullmatch(text):
        return text
    if len(text) > LONGEST_ANSWER:
        return None
    value = _value(text)
    if value is None and (bare := plain(text)) != text:
        value = _value(bare)
    return value


def _value(text: str) -> str | None:
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, currency, inner_sign, tail, denominator, *digits = match.group(*_PARTS)
    if sign and inner_sign:
        return None
    if tail and tail != ".":
        tail = without_edges(tail) if EDGE in tail else tail
        if not leaves_value(tail, bool(currency)):
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
    integer: str | None,
    decimals: str | None,
    point: str | None,
    exponent: str | None,
    power: str | None,
    raised: str | None,
) -> str | None:
    integer = integer or ""
    if not integer.isdigit():
        integer = _NOT_DIGITS.sub("", integer)
    decimals = (decimals or point or "")[1:]
    if scale := exponent or (power or "").strip("{}") or (raised or "").translate(_RAISED):
        digits = Fraction(int(integer + decimals), 10 ** len(decimals))
        return spell(digits * Fraction(10) ** int(scale))
    integer, decimals = integer.lstrip("0") or "0", decimals.rstrip("0")
    return f"{integer}.{decimals}" if decimals else integer
