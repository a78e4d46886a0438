"""What a text affirms, in sentences or short notes: rough English grammar, in linear time."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

SHORTEST_SENTENCE = 3  # words
LEAST_COMMON_WORDS = 0.2  # share of a sentence's words
MOST_TERM_WORDS = 0.7  # share of a sentence's words
MOST_ITEMS = 4  # short items in a row; more are a list
MOST_SAME_OPENINGS = 3  # sentences that begin with the same two words; more are a list
MOST_NOTES = 6  # labelled notes and bullets in a text; more are a list
MOST_SAME_LABELS = 2
LONGEST_LABEL = 3  # words
MOST_UNCOMMON = 3  # words in a row in a note, besides a term; more are a list
FORWARD, BACKWARD = 6, 4  # words that a negation reaches

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_PASSAGE = re.compile(r"\n[^\S\n]*\n")
_SENTENCE = re.compile(r"([.!?;](?=\s|\Z)|\n)")
_ITEM = re.compile(r",|/|\b(?:and|or)\b")
_CLAUSE = re.compile(
    r"([,:()\u2014]|\b(?:but|however|although|though|while|whereas|because|since|so)\b)"
)
_BULLET = "\u2022"
# Lay-out that says the same as "label: text" on one line; each replacement is linear.
_LAYOUT = (
    (re.compile(r"^[^\S\n]*+(?:[-*+\u2013\u2022]|[0-9]{1,2}[.)])[^\S\n]++", re.M), f"{_BULLET} "),
    (re.compile(r"^[^\S\n]*+#++([^\n:]*+)$", re.M), r"\1:"),
    (re.compile(r"^[^\S\n]*+\|([^|\n]++)\|([^|\n]++)\|", re.M), r"\1: \2"),
    (re.compile(r"[*`#>|]++"), ""),
    (
        re.compile(
            r"^((?:\u2022 )?\w++(?: \w++){0,2}+)[^\S\n]++(?:->|=>|[-\u2013\u2014=\u2192])", re.M
        ),
        r"\1: ",
    ),
    (re.compile(r",[^\S\n]++(\w++(?: \w++)?+)(?::| =)(?=[^\S\n])"), r"\n\1:"),
    (re.compile(rf":[^\S\n]*+\n\s*+(?:{_BULLET} )?"), ": "),
    (re.compile(r"\band/or\b|\bvs\b\.?|\bversus\b|(?<=[a-z])/(?=[a-z])"), " or "),
)
# Phrases that hold a negator but deny nothing.
_HARMLESS = re.compile(
    r"\bnot only\b|\b(?:no|without(?: a| any)?|beyond(?: a| any)?|not|n['\u2019]t) doubt\b"
    r"|\bwithout delay\b|\bnot (?:be )?delay(?:ed)?\b|\bno later than\b"
)
# Phrases for which one word does: "instead" denies what follows, "excluded" what stands before.
_PHRASES = (
    (
        re.compile(r"\b((?:choos|chose|prefer|favou?r)\w*+(?: \w++){1,5}?) (?:over|to)\b"),
        r"\1 instead",
    ),
    (
        re.compile(
            r"\btoo \w++ (?:to|for)\b|\blittle (?:evidence|sign|reason|support|indication)\b"
            r"|\babsence of\b|\brather than\b|\bas opposed to\b|\bin place of\b|\bother than\b"
            r"|\banything but\b|\bfar from\b|\brul(?:e|es|ing) out\b|\bhold(?:ing)? off\b"
            r"|\b(?:advi[sc]|recommend|argu|decid|warn|caution|counsel|urg|speak|point|evidence|vot)"
            r"\w*+(?: \w++)? against\b"
        ),
        " instead ",
    ),
    (re.compile(r"\bless likely\b|\bout of the question\b|\bmakes? no sense\b"), "excluded"),
    (re.compile(r"\bin case of\b"), "if"),
)
_NOUN_NEGATORS = frozenset("no without neither nor".split())  # reach as far as the next verb
_NEGATORS = frozenset(
    "not never none cannot denies denied deny excludes exclude excluding avoid avoids avoided "
    "avoiding refuse refused stop stopped instead ruled excluded hardly barely mistaken mistook "
    "mimic mimics mimicking wrongly mistakenly falsely nothing".split()
)
# Deny the rest of their clause, however long.
_DOUBTS = frozenset(
    "doubt doubts doubted doubtful unlikely improbable implausible reject rejects rejected dismiss "
    "dismissed discard discarded withhold withheld discourage discouraged forgo refrain "
    "disagree hesitate hesitant reluctant sceptical skeptical unsure uncertain unconvinced "
    "unwilling nobody".split()
)
_DENIALS = frozenset(
    "unlikely improbable implausible doubtful questionable excluded absent contraindicated "
    "unnecessary needless wrong incorrect mistake mistaken ruled rejected dismissed discouraged "
    "inappropriate inadvisable unwise unjustified unwarranted useless pointless futile "
    "ineffective".split()
)
_OPEN = frozenset("if whether unless".split())  # what follows is neither affirmed nor denied
_TENTATIVE = frozenset(
    "could might may maybe perhaps possibly either others consider considering differential option "
    "options".split()
)
_LISTING = frozenset("differential options possibilities candidates alternatives".split())
_VERBS = frozenset(
    "is are was were be been has have means mean suggests suggest points point shows show needs "
    "need requires require causes cause".split()
)
_AFTER_NOT = frozenset(
    "present likely the there it a an seen found correct right needed necessary indicated required "
    "used given advised recommended helpful possible be wise advisable sensible appropriate "
    "justified warranted what".split()
)
COMMON = _VERBS | frozenset(
    "not no without a an the this that these those being had do does did it its of in on at by to "
    "for from with as into over under and or if when who which whose what there he she they we "
    "you i his her their should must can may might will would could treated given caused it's "
    "that's he's she's there's they're within after before during between about off out up down "
    "through until per here now then also only just very most more once often usually likely "
    "first one two three some any all each every both other another such same start starts take "
    "takes get gets come comes go goes make makes use uses used done made found known called call "
    "look looks see sees confirm confirms indicate indicates help helps save saves work works best "
    "better well".split()
)
DENIED = "\0"


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause's words as `stemmed` gives them; in `affirmed` what is denied is blanked out.

    `mark` stands before it ("" at the start of a sentence), `note` is the label of its note.
    """

    words: str
    affirmed: str
    passage: int
    mark: str
    tentative: bool
    note: str | None = None


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    words: tuple[str, ...]
    label: str | None  # of a note; "" for a bullet without one

    @property
    def opening(self) -> tuple[str, ...]:
        return self.words[:2]


def words_of(text: str) -> list[str]:
    return _WORD.findall(text)


def stemmed(words: Sequence[str]) -> str:
    """Words without plural s, between single spaces, so that `in` finds whole words only."""
    return f" {' '.join(_stem(word) for word in words)} "


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def clauses(text: str, spellings: Collection[str]) -> list[Clause]:
    """The clauses of `text` (in lower case) that are prose or short notes, and no list of words.

    `spellings` are what is looked for, as `stemmed` gives it: a sentence of hardly anything else is
    a list. Questions say nothing.
    """
    for pattern, replacement in (*_LAYOUT, *_PHRASES):
        text = pattern.sub(replacement, text)
    passages = [list(_sentences(passage)) for passage in _PASSAGE.split(text)]
    whole = [sentence for passage in passages for sentence in passage]
    term_words = frozenset("".join(spellings).split())
    openings = Counter(sentence.opening for sentence in whole)
    prose = {s for s in whole if _is_prose(s, term_words)}
    prose = {s for s in prose if openings[s.opening] <= MOST_SAME_OPENINGS}
    notes = [s for s in whole if s not in prose and _is_note(s, spellings)]
    labels = Counter(s.label for s in notes if s.label)
    if len(notes) > MOST_NOTES or any(n > MOST_SAME_LABELS for n in labels.values()):
        notes = []
    said: list[Clause] = []
    number, in_notes = 0, False
    for passage in passages:
        kept = [s for s in passage if s in prose or s in notes]
        if kept:
            # notes stand together, whatever the empty lines between them
            number += not (in_notes and kept[0].label is not None)
            in_notes = all(s.label is not None for s in kept)
        for s in kept:
            said += _clauses_of(s, number, term_words, None if s in prose else s.label)
    return said


def _sentences(passage: str) -> Iterator[_Sentence]:
    """Without questions."""
    parts = [*_SENTENCE.split(passage), ""]
    for text, mark in zip(parts[::2], parts[1::2], strict=True):
        if mark != "?" and (words := words_of(text)):
            yield _Sentence(text, tuple(words), _label(text))


def _label(text: str) -> str | None:
    label, colon, content = text.partition(":")
    if not colon:
        return "" if _BULLET in text else None
    words = words_of(label)
    return " ".join(words) if 0 < len(words) <= LONGEST_LABEL and words_of(content) else None


def _is_prose(sentence: _Sentence, term_words: frozenset[str]) -> bool:
    words = sentence.words
    if len(words) < SHORTEST_SENTENCE:
        return False
    if sum(word in COMMON for word in words) < LEAST_COMMON_WORDS * len(words):
        return False
    named = sum(_stem(word) in term_words and word not in COMMON for word in words)
    if named > MOST_TERM_WORDS * len(words):
        return False
    return _short_items(sentence.text) <= MOST_ITEMS


def _short_items(text: str) -> int:
    return sum(0 < len(words_of(item)) <= 3 for item in _ITEM.split(text))


def _is_note(sentence: _Sentence, spellings: Collection[str]) -> bool:
    """ "Diagnosis: influenza", or a bullet, of few items; the label itself is no term."""
    if sentence.label is None:
        return False
    label, _, content = sentence.text.rpartition(":")
    if any(spelling in stemmed(words_of(label)) for spelling in spellings):
        return False
    for item in _ITEM.split(content):
        rest = stemmed(words_of(item))
        for spelling in spellings:
            rest = rest.replace(spelling, " the ", 1)
        uncommon = 0
        for word in rest.split():
            uncommon = 0 if word in COMMON else uncommon + 1
            if uncommon > MOST_UNCOMMON:
                return False
    return _short_items(content) <= MOST_ITEMS


def _clauses_of(
    sentence: _Sentence, passage: int, term_words: frozenset[str], note: str | None
) -> list[Clause]:
    negated = conditional = False
    tentative = not _TENTATIVE.isdisjoint(sentence.words)
    parts = ["", *_CLAUSE.split(_HARMLESS.sub(" ", sentence.text))]
    said: list[Clause] = []
    for mark, clause in zip(parts[::2], parts[1::2], strict=True):
        words = words_of(clause)
        # "no fever, rash, or cough", "Ruled out: ...": short fragments go on with what was negated
        fragment = mark == "," and (len(words) <= 2 or words[0] in ("or", "nor"))
        fragment |= mark == ":" and sentence.label is not None
        denied = set(range(len(words))) if negated and fragment else _denied(words, term_words)
        if _only_denies(words):  # "..., but it is not"
            said = [replace(earlier, affirmed=f" {DENIED} ") for earlier in said]
        negated = bool(denied) or (negated and not words)
        start = next((i for i, word in enumerate(words) if word in _OPEN), len(words))
        tentative |= start < len(words)  # "if it is a, give b"
        conditional |= start < len(words)
        untold = (conditional and "would" in words) or not _LISTING.isdisjoint((note or "").split())
        told = [] if untold else words[:start]
        affirmed = [DENIED if i in denied else word for i, word in enumerate(told)]
        said.append(Clause(stemmed(told), stemmed(affirmed), passage, mark, tentative, note))
    return said


def _only_denies(words: Sequence[str]) -> bool:
    denials = ("not", "wrong", "false", "untrue", "incorrect")
    negations = [w for w in words if w in denials or w.endswith(("n't", "n\u2019t"))]
    return len(words) <= 4 and bool(negations) and COMMON.issuperset({*words} - {*negations})


def _denied(words: Sequence[str], term_words: frozenset[str]) -> set[int]:
    """Indices of the words within the reach of a negation that is no part of a term itself."""
    denied: set[int] = set()
    for i, word in enumerate(words):
        if word in term_words:
            continue  # "stop smoking"
        reach = range(i, min(i + FORWARD + 1, len(words)))
        if word in _NOUN_NEGATORS:
            verb = next((j for j in reach[2:] if words[j] in _VERBS), reach.stop)  # "no need for"
            denied.update(range(i, verb))
        elif word in _NEGATORS or word.endswith(("n't", "n\u2019t")):
            denied.update(reach)
            if i + 1 == len(words) or words[i + 1] in _AFTER_NOT:
                denied.update(range(max(i - BACKWARD, 0), i))
        if word in _DOUBTS:
            denied.update(range(i, len(words)))
        if word in _DENIALS:
            denied.update(range(max(i - BACKWARD, 0), i))
    return denied
