"""What a text says affirmatively, in ordinary sentences: rough English grammar, in linear time."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SHORTEST_SENTENCE = 3  # words
LEAST_COMMON_WORDS = 0.2  # share of a sentence's words
MOST_TERM_WORDS = 0.6  # share of a sentence's words
MOST_ITEMS = 4  # short items in a row; more are a list
MOST_SAME_OPENINGS = 3  # sentences that begin with the same two words; more are a list
FORWARD, BACKWARD = 6, 4  # words that a negation reaches

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_PASSAGE = re.compile(r"\n[^\S\n]*\n")
_SENTENCE = re.compile(r"[.!?;](?=\s|\Z)|\n")
_ITEM = re.compile(r",|/|\b(?:and|or)\b")
_CLAUSE = re.compile(
    r"([,:()\u2014]|\b(?:but|however|although|though|while|whereas|because|since|so)\b)"
)
# Phrases that hold a negator but deny nothing.
_HARMLESS = re.compile(
    r"\bnot only\b|\bno doubt\b|\bwithout delay\b|\bnot (?:be )?delay(?:ed)?\b|\bno later than\b"
)
_NOUN_NEGATORS = frozenset("no without neither nor".split())  # reach as far as the next verb
_NEGATORS = frozenset(
    "not never none cannot denies denied deny excludes exclude avoid avoids avoided refuse refused "
    "stop stopped instead rules".split()
)
_DENIALS = frozenset("unlikely excluded absent contraindicated unnecessary wrong ruled".split())
_VERBS = frozenset(
    "is are was were be been has have means mean suggests suggest points point shows show needs "
    "need requires require causes cause".split()
)
_AFTER_NOT = frozenset(
    "present likely the there it a an seen found correct right needed necessary indicated required "
    "used given advised recommended helpful possible".split()
)
_COMMON = _VERBS | frozenset(
    "not no without a an the this that these those being had do does did it its of in on at by to "
    "for from with as "
    "into over under and or if when who which whose what there he she they we you i his her their "
    "should must can may might will would treated given caused".split()
)
_DENIED = "\0"


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause's words as `stemmed` gives them; in `affirmed` what is denied is blanked out."""

    words: str
    affirmed: str
    passage: int


def words_of(text: str) -> list[str]:
    return _WORD.findall(text)


def stemmed(words: Sequence[str]) -> str:
    """Words without plural s, between single spaces, so that `in` finds whole words only."""
    return f" {' '.join(_stem(word) for word in words)} "


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def clauses(text: str, term_words: frozenset[str]) -> Iterator[Clause]:
    """The clauses of the sentences of `text` (in lower case) that are prose and no list of words.

    `term_words` are the stems looked for: a sentence of hardly anything else is a list.
    """
    text = text.replace("absence of", "without")
    openings = Counter(tuple(words_of(s)[:2]) for s in _SENTENCE.split(text))
    for number, passage in enumerate(_PASSAGE.split(text)):
        for sentence in _SENTENCE.split(passage):
            words = words_of(sentence)
            repeated = openings[tuple(words[:2])] > MOST_SAME_OPENINGS
            if not repeated and _is_prose(sentence, words, term_words):
                yield from _clauses_of(sentence, number, term_words)


def _is_prose(sentence: str, words: Sequence[str], term_words: frozenset[str]) -> bool:
    if len(words) < SHORTEST_SENTENCE:
        return False
    if sum(word in _COMMON for word in words) < LEAST_COMMON_WORDS * len(words):
        return False
    named = sum(_stem(word) in term_words and word not in _COMMON for word in words)
    if named > MOST_TERM_WORDS * len(words):
        return False
    return sum(0 < len(words_of(item)) <= 3 for item in _ITEM.split(sentence)) <= MOST_ITEMS


def _clauses_of(sentence: str, passage: int, term_words: frozenset[str]) -> Iterator[Clause]:
    negated = False
    parts = ["", *_CLAUSE.split(_HARMLESS.sub(" ", sentence))]
    for mark, clause in zip(parts[::2], parts[1::2], strict=True):
        words = words_of(clause)
        # "no fever, rash, or cough": short fragments go on with what was negated
        fragment = mark == "," and (len(words) <= 2 or words[0] in ("or", "nor"))
        denied = set(range(len(words))) if negated and fragment else _denied(words, term_words)
        negated = bool(denied) or (negated and not words)
        affirmed = [_DENIED if i in denied else word for i, word in enumerate(words)]
        yield Clause(stemmed(words), stemmed(affirmed), passage)


def _denied(words: Sequence[str], term_words: frozenset[str]) -> set[int]:
    """Indices of the words within the reach of a negation that is no part of a term itself."""
    denied: set[int] = set()
    for i, word in enumerate(words):
        if word in term_words:
            continue  # "stop smoking"
        reach = range(i, min(i + FORWARD + 1, len(words)))
        if word in _NOUN_NEGATORS:
            verb = next((j for j in reach if words[j] in _VERBS), reach.stop)
            denied.update(range(i, verb))
        elif word in _NEGATORS or word.endswith(("n't", "n\u2019t")):
            denied.update(reach)
            if i + 1 == len(words) or words[i + 1] in _AFTER_NOT:
                denied.update(range(max(i - BACKWARD, 0), i))
        elif word in _DENIALS:
            denied.update(range(max(i - BACKWARD, 0), i))
    return denied
