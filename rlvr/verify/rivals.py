"""Other answers that a text gives beside the right one, for roles that are to be filled once.

A rival is known in three ways: another gold of the dataset names it, it stands in a list of
alternatives with the right answer, or it is claimed as the right answer is ("It is ...", "treated
with ...", a note with the same label). Rough English grammar, in linear time.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rlvr.verify.prose import COMMON, DENIED, Clause

LONGEST_ITEM = 4  # words of an item in a list of alternatives
LONGEST_LIST = 8  # items looked at on either side

_OWN = "\1"
_ARTICLES = frozenset("a an the".split())
_MODIFIERS = _ARTICLES | frozenset("some acute severe chronic most likely probably".split())
_BESIDE = (
    re.compile(rf"{_OWN} or (?:(?:an?|the|some|acute) )?(\S+)"),
    re.compile(rf"(\S+) or (?:(?:an?|the|some|acute) )?{_OWN}"),
)
NAMED, DONE = "what it is", "what is done"
# Words are as `stemmed` leaves them. "It is a disease" says more of an answer, "it is gout" is one.
_PLAIN = (
    (
        NAMED,
        re.compile(
            r"\b(?:it|thi|that|diagnosi|answer|cause|problem|name)"
            r"(?: (?:may|might|could|must|can|also|then))* (?:is|was|be)(?P<what> (?!an? ).*)"
        ),
    ),
    (DONE, re.compile(r"\b(?:treatment|therapy|remedy|cure|drug) (?:is|was)(?P<what> (?!an? ).*)")),
)
_FURTHER = (
    (
        NAMED,
        re.compile(
            r"\b(?:is|was|be|mean|suggest|indicate|fit|call|called|consider|think of"
            r"|(?:point|due) to|ha|has|have)(?: it| thi)?(?P<what> .*)"
        ),
    ),
    (
        DONE,
        re.compile(
            r"\b(?:(?:treated|managed|cured|helped) (?:by|with)|(?:treatment|therapy|remedy) is"
            r"|need|require|give|given|get|take|use|prescribe|try)(?P<what> .*)"
        ),
    ),
    (
        DONE,
        re.compile(
            r"(?P<what>.+?) (?:(?:is|was|be) (?:given|used|needed|required|prescribed)|help|work)\b"
        ),
    ),
)
_ADJECTIVE = re.compile(
    r"\S*(?:ed|ing|al|ic|ou|ful|ive|[ai]ble|ant|ent|ly)|common|rare|safe|severe"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """That something is the answer: how it is said, of what, and in which clause.

    `plain` claims leave no doubt that an answer is meant.
    """

    kind: str
    what: str
    plain: bool
    clause: Clause


class Vocabulary:
    """All terms of one role that a dataset's golds name."""

    def __init__(self) -> None:
        self._terms: set[tuple[str, ...]] = set()
        self._by_word: dict[str, list[tuple[str, tuple[str, ...]]]] = {}

    def __len__(self) -> int:
        return len(self._terms)

    def add(self, spellings: tuple[str, ...]) -> None:
        if spellings in self._terms:
            return
        self._terms.add(spellings)
        for spelling in spellings:
            self._by_word.setdefault(spelling.split()[0], []).append((spelling, spellings))

    def spelled(self, text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each spelling in `text` with all spellings of its term."""
        for word in dict.fromkeys(text.split()):
            yield from (found for found in self._by_word.get(word, ()) if found[0] in text)


def has(words: str, spellings: Iterable[str]) -> bool:
    return any(spelling in words for spelling in spellings)


def count_rivals(
    own: Collection[str],
    right: Collection[str],
    vocabulary: Vocabulary,
    said: Sequence[Clause],
    question: str,
) -> int:
    """How many other answers `said` affirms besides `own`, the right ones for one role.

    `right` are the right answers for all roles; what stands in the question is no answer.
    """
    listed = (len(alternatives(own, said, i)) for i in range(len(said)))
    return max(
        _named(own, vocabulary, said, question),
        max(listed, default=0),
        _claimed(own, right, claims(said), question),
    )


def _named(
    own: Collection[str], vocabulary: Vocabulary, said: Sequence[Clause], question: str
) -> int:
    """Terms of the vocabulary, but for those that are related to `own` or in the question."""
    text = "\n".join(_hide(clause.affirmed, own) for clause in said)
    found: list[tuple[str, ...]] = []
    for spelling, spellings in vocabulary.spelled(text):
        related = any(a in b or b in a for a in own for b in spellings)
        counted = any(spelling in earlier for earlier in found)
        last = next((c for c in reversed(said) if spelling in c.words), None)
        denied = last is not None and spelling not in last.affirmed
        if not (related or counted or denied or spelling in question):
            found.append(spellings)
    return len(found)


def _hide(words: str, spellings: Iterable[str]) -> str:
    for spelling in spellings:
        words = words.replace(spelling, f" {_OWN} ")
    return words


def alternatives(own: Collection[str], said: Sequence[Clause], index: int) -> set[str]:
    """What stands with `own` in a list of alternatives, in or around a clause.

    A list is one of alternatives when it is joined by "or", by commas alone, or under "could be".
    """
    words = _hide(said[index].affirmed, own)
    if _OWN not in words:
        return set()
    found = {m[1] for pattern in _BESIDE for m in pattern.finditer(words)} - COMMON - {_OWN}
    after = _items(said, range(index + 1, len(said)))
    before = _items(said, range(index - 1, -1, -1)) if _is_item(said[index]) else []
    joins = set(" ".join([words, *after, *before]).split()) & {"and", "or"}
    if "and" in joins and not said[index].tentative:
        return found
    first = index - len(before) - 1
    if _is_item(said[index]) and (joins or said[index].note is not None) and first >= 0:
        found.update({said[first].words} if not has(said[first].affirmed, own) else ())
    items = [item for item in [*after, *before] if not has(item, own)]
    apposition = not joins and len(items) == 1 and items[0].split()[0] in _ARTICLES
    if words.endswith(f"{_OWN} ") and not apposition:
        found.update(part for item in items for part in re.split(r" (?:or|and) ", item) if part)
    return found


def _items(said: Sequence[Clause], places: range) -> list[str]:
    items: list[str] = []
    for i in places[:LONGEST_LIST]:
        if not _is_item(said[i]):
            break
        items.append(said[i].affirmed)
    return items


def _is_item(clause: Clause) -> bool:
    """A short part after a comma without a verb or a preposition."""
    words = clause.affirmed.split()
    rest = [word for word in words if word not in ("or", "and")]
    plain = all(word not in {*COMMON, DENIED} or word in _MODIFIERS for word in rest)
    return clause.mark == "," and 0 < len(rest) <= LONGEST_ITEM and plain


def claims(said: Sequence[Clause]) -> list[Claim]:
    return [claim for clause in said for claim in _claims_of(clause)]


def _claims_of(clause: Clause) -> Iterator[Claim]:
    if clause.note is not None:
        if clause.mark == ":" or not clause.note:
            kind = re.sub(r" ?[0-9]+", "", clause.note)  # "Diagnosis 2" is a diagnosis
            yield Claim(kind, clause.affirmed, bool(kind), clause)
        return
    plain = [(kind, m) for kind, pattern in _PLAIN if (m := pattern.search(clause.affirmed))]
    yield from (Claim(kind, f"{m['what']} ", True, clause) for kind, m in plain)
    for kind, pattern in _FURTHER:
        if (kind == DONE or not plain) and (found := pattern.search(clause.affirmed)):
            yield Claim(kind, f"{found['what']} ", False, clause)


def _claimed(
    own: Collection[str], right: Collection[str], claimed: Sequence[Claim], question: str
) -> int:
    """Other claims of the kind made of `own`; one that is not plain may say more of the answer."""
    of_others = [spelling for spelling in right if spelling not in own]
    kinds = _kinds(claimed, own) or {NAMED, DONE} - _kinds(claimed, of_others)
    others = {(_content(c.what), c.plain) for c in claimed if c.kind in kinds and new(c, right)}
    others = {(what, plain) for what, plain in others if not _asked(what, question)}
    plain = {what for what, plain in others if plain}
    return len(plain) + max(len({what for what, _ in others} - plain) - 1, 0)


def _kinds(claimed: Sequence[Claim], answers: Collection[str]) -> set[str]:
    return {c.kind for c in claimed if has(f"{c.what.partition(' and ')[0]} ", answers)}


def new(claim: Claim, right: Collection[str]) -> bool:
    """Whether it claims something, and nothing that is right, by a name and not an adjective."""
    content = _content(claim.what)
    named = bool(content) and not _ADJECTIVE.fullmatch(content.split()[-1])
    return named and DENIED not in content and not has(claim.clause.affirmed, right)


def _content(what: str) -> str:
    """The first words in a row that are not common."""
    content: list[str] = []
    for word in what.split():
        if word in COMMON and content:
            break
        if word not in COMMON and word not in _MODIFIERS:
            content.append(word)
    return " ".join(content)


def _asked(what: str, question: str) -> bool:
    return all(f" {word} " in question for word in what.split())
