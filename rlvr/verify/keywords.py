"""Rewards free text by the terms it must contain, said affirmatively in sentences or short notes.

Gold notation: terms separated by ";", each with a role before ":", alternatives separated by "|":
"finding: rebound tenderness; diagnosis: appendicitis; treatment: appendectomy | surgery".
docs/rewards.md, "Domain text", says what counts and what does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rlvr.errors import UserError
from rlvr.verify.answers import spoken
from rlvr.verify.prose import Clause, clauses, stemmed, words_of
from rlvr.verify.rivals import Vocabulary, alternatives, claims, count_rivals, has, new
from rlvr.verify.verdict import Reason, Verdict

PARTIAL_CREDIT = 0.5  # for all terms without a valid combination; fewer terms get their share of it


@dataclass(frozen=True, slots=True)
class Term:
    """One required term: any of `spellings`, each as stemmed words between single spaces."""

    name: str
    role: str
    spellings: tuple[str, ...]


class KeywordVerifier:
    """Full reward for every required term, affirmed, in a valid combination and in few words.

    `combine` is a list of groups of roles: some passage must hold a term of each group. The reward
    shrinks in proportion once a completion is longer than `words_per_term` words per required term,
    and is divided by the number of answers given for each role in `exclusive`. Other answers are
    known by the golds that `canonical` has seen, and by how they are said.
    """

    def __init__(
        self,
        combine: Sequence[Sequence[str]] = (),
        words_per_term: int = 25,
        exclusive: Sequence[str] = (),
    ) -> None:
        if words_per_term < 1:
            raise UserError(f"words_per_term={words_per_term}: 1 or more is expected.")
        if any(isinstance(group, str) for group in combine):
            raise UserError(f"combine={combine}: a list of lists of roles is expected.")
        if isinstance(exclusive, str):
            raise UserError(f"exclusive={exclusive}: a list of roles is expected.")
        self._combine = [frozenset(map(_plain, group)) for group in combine]
        self._words_per_term = words_per_term
        self._exclusive = {_plain(role): Vocabulary() for role in exclusive}

    def canonical(self, gold: object) -> str:
        """The gold notation in lower case with single spaces; ValueError says what is wrong."""
        terms = _parse(gold)
        roles = {term.role for term in terms}
        for group in self._combine:
            if roles != {""} and not roles & group:
                raise ValueError(f"it has no term of the role {' or '.join(sorted(group))}")
        for term in terms:
            if term.role in self._exclusive:
                self._exclusive[term.role].add(term.spellings)
        return "; ".join(f"{term.role}: {term.name}".removeprefix(": ") for term in terms)

    def example(self, gold: str) -> str:
        """A completion that earns the full reward of a canonical gold."""
        terms = [(term.role or "term", term.name.split(" | ")[0]) for term in _terms(gold)]
        said = (f"The {role} in case {n} is {name}." for n, (role, name) in enumerate(terms, 1))
        return " " + " ".join(said)

    def verify(
        self, completions: Sequence[str], golds: Sequence[str], **columns: Sequence[object]
    ) -> list[Verdict]:
        """One verdict per completion; ValueError when there are not as many golds.

        What stands in the column `question`, if there is one, is no answer of the completion's own.
        """
        for role, vocabulary in self._exclusive.items():
            if not vocabulary:
                raise UserError(f"exclusive: no gold answer of the dataset has the role {role!r}.")
        questions = columns.get("question", [""] * len(golds))
        rows = zip(completions, golds, questions, strict=True)
        return [self._judge(c, g, str(q)) for c, g, q in rows]

    def _judge(self, completion: str, gold: str, question: str) -> Verdict:
        try:
            terms = _terms(gold)
        except ValueError:
            return Verdict(None, Reason.INFRA_ERROR)
        text = spoken(completion).casefold()
        length = len(words_of(text))
        if not length:
            return Verdict(0.0, Reason.NO_ANSWER)
        said = clauses(text, [spelling for term in terms for spelling in term.spellings])
        found = _found(terms, said)
        covered = [term for term in terms if found[term]]
        share = min(1.0, max(len(terms), 2) * self._words_per_term / length)
        share /= self._answers(covered, said, stemmed(words_of(question.casefold())))
        complete = len(covered) == len(terms) and self._combined(found)
        reward = share * (1.0 if complete else PARTIAL_CREDIT * len(covered) / len(terms))
        reason = Reason.CORRECT if reward == 1 else Reason.PARTIAL if reward else Reason.WRONG
        shown = "; ".join(term.name for term in covered) or None
        return Verdict(reward, reason, shown, format_ok=bool(said))

    def _answers(self, covered: Sequence[Term], said: Sequence[Clause], question: str) -> int:
        """How many combinations of answers are given: guessing more never pays more on average."""
        right = [spelling for term in covered for spelling in term.spellings]
        count = 1
        for role, vocabulary in self._exclusive.items():
            own = [spelling for term in covered if term.role == role for spelling in term.spellings]
            if own:
                count *= 1 + count_rivals(own, right, vocabulary, said, question)
        return count

    def _combined(self, found: dict[Term, set[int]]) -> bool:
        """Whether one passage holds a term of each group of roles."""
        if {term.role for term in found} == {""}:
            return True
        groups = [
            set().union(*(places for term, places in found.items() if term.role in group))
            for group in self._combine
        ]
        return not groups or bool(set.intersection(*groups))


def _parse(gold: object) -> tuple[Term, ...]:
    if not isinstance(gold, str):
        raise ValueError(f"{gold!r} is a {type(gold).__name__}, not text")
    terms = tuple(_term(part) for part in gold.strip().strip(";").split(";"))
    if not all(term.spellings for term in terms):
        raise ValueError('it has an empty term; expected "role: term | alternative; role: term"')
    if len({bool(term.role) for term in terms}) > 1:
        raise ValueError("some terms have a role and some have none")
    if len({term.name for term in terms}) < len(terms):
        raise ValueError("a term is listed twice")
    return terms


_terms = lru_cache(maxsize=1 << 14)(_parse)


def _term(part: str) -> Term:
    role, _, names = part.rpartition(":")
    alternatives = [_plain(name) for name in names.split("|")]
    spellings = tuple(stemmed(words_of(name)) for name in alternatives if words_of(name))
    complete = len(spellings) == len(alternatives)
    return Term(" | ".join(alternatives), _plain(role), spellings if complete else ())


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _found(terms: Sequence[Term], said: Sequence[Clause]) -> dict[Term, set[int]]:
    """The passages that affirm each term; none when its last mention denies it.

    Of several guesses ("it might be a or b") none affirms anything.
    """
    right = [spelling for term in terms for spelling in term.spellings]
    other_guesses = any(new(c, right) for c in claims([c for c in said if c.tentative]))

    def affirms(index: int, spellings: Sequence[str]) -> bool:
        guess = said[index].tentative
        one_of_many = guess and (other_guesses or bool(alternatives(right, said, index)))
        return has(said[index].affirmed, spellings) and not one_of_many

    found: dict[Term, set[int]] = {}
    for term in terms:
        mentions = [i for i, clause in enumerate(said) if has(clause.words, term.spellings)]
        affirmed = [said[i].passage for i in mentions if affirms(i, term.spellings)]
        found[term] = set(affirmed if mentions and affirms(mentions[-1], term.spellings) else ())
    return found
