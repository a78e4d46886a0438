"""What may follow a number and leave its value alone: units, and a closed list of exceptions.

Language is open, so words that are not listed here are taken for a unit. What they are listed by is
where they stand: "12 times" is twelve, "12 times two" is not.
"""

import re
from functools import lru_cache

MOST_WORDS = 8

_LETTER = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_SHORTENED = (
    "sq|cu|ft|in|yds?|mi|oz|lbs?|gal|pt|qt|tbsp|tsp|kg|km|cm|mm|ml|hrs?|mins?|secs?|yrs?|mo|wks?"
    "|Mr|Mrs|Ms|Dr|St|Jr|approx"
)
_WORD = (
    rf"(?:(?:[{_LETTER}]\.)+[{_LETTER}]?(?![{_LETTER}])|(?:{_SHORTENED})\."
    rf"|[{_LETTER}]+(?:['\u2019&-][{_LETTER}]+)*)"
)
_SQUARED = r"(?:[²³]|\^[23]|\^\{[23]\}|(?:(?<=m)|(?<=ft))[23])?"
_SYMBOL = r"%|°[CF]?|\^?\\circ|\^\{\\circ\}|\\degree|US\$|[$€£¥₹₩₽¢]|[\"\u2033'\u2032](?![A-Za-z])"
# Without a space only what cannot be taken for a variable, a digit or a multiplier.
_GLUED = (
    "[kcmnµμ]?m|ms|[kmµμ]?g|[mcdk]?[lL]|[MGTk]B|Mb|kWh|kW|V|W|s|h|lbs?|oz|ft|in|yds?|mi|hrs?|mins?"
    "|secs?|yrs?|mph|kph|kmh|[ap]m|people|percent|degrees?|minute|hour|day|week|month|year|mile"
    r"|st|nd|rd|th|inch|feet|foot|meter|metre|liter|litre|pound|dollar|cent|[a-z]{3,}s"
)
_BETWEEN = r"(?:\)?,?\x20\(?|\x20?/\x20?|\x20&\x20)"
_TAIL = re.compile(
    rf"(?:\x20?(?:{_SYMBOL})|(?:-?(?:{_GLUED})|-(?!odd)[{_LETTER}]{{3,}}){_SQUARED}(?![{_LETTER}0-9-]))?"
    rf"(?:{_BETWEEN}{_WORD}{_SQUARED}){{0,{MOST_WORDS}}}\)?(?:[.,;]|(?<=[a-z])!)?[\"\u201d'\u2019]?"
)
_TOKEN = re.compile(rf"{_WORD}|[/&]")
_SPELLED = {"/": "per", "&": "and"}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What no position makes harmless.
_DENIED = _words(
    # alternatives, negations and hedges
    "or nor but not no never none neither either cannot unless if else except maybe perhaps "
    "possibly probably probable likely unlikely presumably supposedly apparently hopefully "
    "approximately approx roughly circa almost nearly ish actually instead rather wait hmm oops "
    "sorry versus vs unknown unsure uncertain doubt doubtful guess guessed think believe suppose "
    "assume assuming estimate estimated estimation might could seems seem appears something "
    "untrue inaccurate mistake mistaken wrong incorrect false is "
    "dont doesnt didnt isnt arent wasnt cant wont nope nah nvm jk kidding scratch correction "
    "undefined unclear nan inf null hex hexadecimal octal binary twofold threefold tenfold "
    # arithmetic
    "plus minus equals divided multiplied squared cubed doubled tripled quadrupled halved twice "
    "thrice itself pi tau theta sqrt mod modulo factorial ln exp sin cos infinity "
    # parts
    "half halves thirds fourths fifths sixths sevenths eighths ninths tenths hundredth hundredths "
    "thousandth thousandths millionth millionths"
)
MULTIPLIERS = _words(
    "hundred hundreds thousand thousands million millions billion billions trillion trillions "
    "dozen dozens lakh lakhs crore crores myriad mil mille mn bn mln bln mio mrd "
    "tausend millionen milliarden milliard milliards"
)
_NUMBERS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
_ORDINALS = _words("third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth")
NUMBER_WORDS = _NUMBERS | _ORDINALS
# "12 in two days", "12 on the third day": the other number counts something else.
_BEFORE_NUMBERS = _words(
    "in for during after within every each per all the these those last next his her its their my "
    "our your"
)
_GRADES = _words("grade grades grader graders")
_PERSONS = _words("he she they we you")  # "$12 if they sell everything"
_POINTERS = _words("the his her its their correct right")  # "12 is the answer"
_OPERATORS = _words("times over by to of than and")
_MISTAKES = _words("answers guesses questions responses choices turns alarms numbers")
_NOT_FIRST = _words(
    "and about around below under above gross score quarter was be been may can should would will "
    "must looks sounds"
)
_NOT_LAST = _words(
    "and so about around odd most least max maximum minimum power log tan root point negative "
    "double triple too up upward upwards below a an the grand mill st nd rd th"
)
_AFTER_AND = _words("a an some more change counting up above over the half")  # "12 hours and a bit"
# k and K are thousands as often as anything else; the rest are variables.
_BEFORE_OF = _words("quarters st nd rd th")  # "3 quarters of it", "5th of it"
_UNIT_LETTERS = frozenset("mgshlLAVWNJCF")


@lru_cache(maxsize=1 << 12)  # a data set has few units
def leaves_value(tail: str, currency: bool) -> bool:
    """Whether a number followed by `tail` has the value it has alone.

    `currency`: a currency sign stands before the number, so that "m" is no metre but a million.
    Linear in len(tail).
    """
    if not _TAIL.fullmatch(tail) or tail.count("(") != tail.count(")"):
        return False
    tokens = _TOKEN.findall(tail)
    words = [_SPELLED.get(token) or token.replace(".", "") for token in tokens]
    around = ["", *words, ""]
    return not any(
        _changes(before, word, after, currency)
        for before, word, after in zip(around, around[1:], around[2:], strict=False)
    )


def _changes(before: str, written: str, after: str, currency: bool) -> bool:
    """Whether one word changes the value. An empty neighbour is the number, or the end."""
    word, before, after = written.lower().replace("\u2019", "'"), before.lower(), after.lower()
    if len(word) == 1:
        return _is_variable(written, before, after, currency)
    if "-" in word:
        return _changes_as_compound(word)
    if word in NUMBER_WORDS:
        return not _counts_something_else(before, word, after)
    if word in MULTIPLIERS:
        return before != "per" and (before, word) != ("a", "dozen")
    return (
        (word in _DENIED and not _is_harmless(before, word, after))
        or word.endswith("n't")
        or (not before and word in _NOT_FIRST)
        or (not after and word in _NOT_LAST)
        or (word == "may" and written != "May")
        or (word == "and" and after in _AFTER_AND)
        or (word in ("least", "most") and before == "at")
        or (word in _BEFORE_OF and not before and after == "of")
        or (word in ("mm", "grand") and currency)
    )


def _is_variable(letter: str, before: str, after: str, currency: bool) -> bool:
    if letter in "aA" and after:
        return False  # the article
    if before in _OPERATORS:
        return True  # "12 times A"
    if letter.isupper() and before and before != "per":
        return letter in "IK"  # "12 more than team B"
    return letter not in _UNIT_LETTERS or (currency and before != "per")


def _changes_as_compound(word: str) -> bool:
    parts = word.split("-")
    if all(part in NUMBER_WORDS for part in parts):
        return True
    return any(
        part in MULTIPLIERS or (part in _DENIED and (part, i) != ("half", 0)) or part == "odd"
        for i, part in enumerate(parts)
    )


def _counts_something_else(before: str, word: str, after: str) -> bool:
    if word in _ORDINALS and not before:
        return after in _GRADES
    if word == "one" and not after:
        return before in ("each", "every")
    follows = before in _BEFORE_NUMBERS or before.endswith("ing")
    return follows and bool(after) and after not in MULTIPLIERS | NUMBER_WORDS


def _is_harmless(before: str, word: str, after: str) -> bool:
    """Whether a word that denies or divides does so to something else than the number."""
    return (
        (word in ("wrong", "incorrect", "false") and after in _MISTAKES)
        or (word == "half" and before in ("first", "second", "other"))
        or (word == "pi" and before == "of")
        or (word == "no" and before == "with")
        or (word == "if" and after in _PERSONS)
        or (word == "is" and (before == "which" or after in _POINTERS))
    )
