"""Rewards free text by the terms it must contain, said affirmatively and in ordinary sentences.

Gold notation: terms separated by ";", each with a role before ":", alternatives separated by "|":
"finding: rebound tenderness; diagnosis: appendicitis; treatment: appendectomy | surgery".
docs/rewards.md, "Domain text", says what counts and what does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rlvr.errors import UserError
from rlvr.sampling.stop import StopRule
from rlvr.verify.answers import RUN_ON, spoken
from rlvr.verify.prose import Clause, clauses, stemmed, words_of
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
    shrinks in proportion once a completion is longer than `words_per_term` words per required term.
    """

    def __init__(
        self,
        combine: Sequence[Sequence[str]] = (),
        words_per_term: int = 25,
        stop: StopRule | None = RUN_ON,
    ) -> None:
        if words_per_term < 1:
            raise UserError(f"words_per_term={words_per_term}: 1 or more is expected.")
        if any(isinstance(group, str) for group in combine):
            raise UserError(f"combine={combine}: a list of lists of roles is expected.")
        self._combine = [frozenset(group) for group in combine]
        self._words_per_term = words_per_term
        self._stop = stop

    def canonical(self, gold: object) -> str:
        """The gold notation in lower case with single spaces; ValueError says what is wrong."""
        terms = _parse(gold)
        roles = {term.role for term in terms}
        for group in self._combine:
            if roles != {""} and not roles & group:
                raise ValueError(f"it has no term of the role {' or '.join(sorted(group))}")
        return "; ".join(f"{term.role}: {term.name}".removeprefix(": ") for term in terms)

    def example(self, gold: str) -> str:
        """A completion that earns the full reward of a canonical gold."""
        terms = [(term.role or "term", term.name.split(" | ")[0]) for term in _terms(gold)]
        said = (f"The {role} in case {n} is {name}." for n, (role, name) in enumerate(terms, 1))
        return " " + " ".join(said)

    def verify(
        self, completions: Sequence[object], golds: Sequence[str], **columns: Sequence[object]
    ) -> list[Verdict]:
        """One verdict per completion; ValueError when there are not as many golds."""
        return [self._judge(c, g) for c, g in zip(completions, golds, strict=True)]

    def _judge(self, completion: object, gold: str) -> Verdict:
        try:
            terms = _terms(gold)
        except ValueError:
            return Verdict(None, Reason.INFRA_ERROR)
        text = spoken(completion, self._stop).casefold()
        length = len(words_of(text))
        if not length:
            return Verdict(0.0, Reason.NO_ANSWER)
        spellings = "".join(spelling for term in terms for spelling in term.spellings)
        said = list(clauses(text, frozenset(spellings.split())))
        found = {term: _passages(term, said) for term in terms}
        covered = [term for term in terms if found[term]]
        share = min(1.0, max(len(terms), 2) * self._words_per_term / length)
        complete = len(covered) == len(terms) and self._combined(found)
        reward = share * (1.0 if complete else PARTIAL_CREDIT * len(covered) / len(terms))
        reason = Reason.CORRECT if reward == 1 else Reason.PARTIAL if reward else Reason.WRONG
        shown = "; ".join(term.name for term in covered) or None
        return Verdict(reward, reason, shown, format_ok=bool(said))

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
    role, _, names = part.casefold().rpartition(":")
    alternatives = [" ".join(name.split()) for name in names.split("|")]
    spellings = tuple(stemmed(words_of(name)) for name in alternatives if words_of(name))
    complete = len(spellings) == len(alternatives)
    return Term(" | ".join(alternatives), " ".join(role.split()), spellings if complete else ())


def _passages(term: Term, said: Sequence[Clause]) -> set[int]:
    """The passages that affirm `term`; none when its last mention denies it."""
    mentions = [c for c in said if any(spelling in c.words for spelling in term.spellings)]
    affirmed = [any(spelling in c.affirmed for spelling in term.spellings) for c in mentions]
    if not mentions or not affirmed[-1]:
        return set()
    return {c.passage for c, yes in zip(mentions, affirmed, strict=True) if yes}
