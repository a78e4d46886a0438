"""Questions that training gained and lost, with what the model said before and after."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import escape

from rlvr.compare.answers import read_rows, share
from rlvr.compare.code import CodeAnswer, code_answer, cut, difference
from rlvr.compare.runs import RunRow

CHARACTERS = 700  # shown of a question or a completion
TOLD = 3  # runs whose completions are shown with a question
MARKUP = 700  # bytes around the texts of one question


@dataclass(frozen=True)
class Answer:
    """A completion in three parts: before the answer the verifier read, the answer, after it."""

    before: str
    answer: str
    after: str
    read: str | None  # in the verifier's form, None where it found no answer


@dataclass(frozen=True)
class Change:
    """What training did to one question in one run; `gain` is in shares of right samples."""

    run: int
    gain: float
    base: Answer | CodeAnswer
    trained: Answer | CodeAnswer

    @property
    def kind(self) -> str:
        return "gained" if self.gain > 0 else "lost"

    def record(self) -> dict[str, Any]:
        codes = [a.code for a in (self.base, self.trained) if isinstance(a, CodeAnswer)]
        lines = difference(*codes) if len(codes) == 2 else []
        return {**asdict(self), "kind": self.kind, "difference": lines}


@dataclass
class Question:
    id: str
    question: str
    gold: str
    changes: list[Change] = field(default_factory=list)
    code: bool = False

    def interest(self) -> float:
        """Runs that disagree say more than runs that all gain: those tell of the question alone."""
        gained = sum(change.gain > 0 for change in self.changes)
        return min(gained, len(self.changes) - gained) + abs(
            sum(change.gain for change in self.changes)
        ) / len(self.changes)

    def record(self) -> dict[str, Any]:
        """What the page tells: which runs gained and lost it, and the completions of a few."""
        told = sorted(self.changes, key=lambda change: (-abs(change.gain), change.run))
        kinds = [[c for c in told if c.kind == kind] for kind in ("lost", "gained")]
        turns = [c for pair in zip_longest(*kinds) for c in pair if c is not None]
        return {
            "id": self.id,
            "question": self.question,
            "gold": self.gold,
            "code": self.code,
            "gained": sorted(change.run for change in kinds[1]),
            "lost": sorted(change.run for change in kinds[0]),
            "answers": [change.record() for change in turns[:TOLD]],
        }

    def size(self) -> int:
        """Bytes in the page, where each text stands twice: as HTML and as JSON."""
        text = json.dumps(self.record(), ensure_ascii=False)
        html, data = str(escape(text)).encode(errors="replace"), str(htmlsafe_json_dumps(text))
        return MARKUP * (1 + min(TOLD, len(self.changes))) + len(html) + len(data)


def changed_questions(rows: Sequence[RunRow]) -> tuple[list[Question], dict[int, dict[str, int]]]:
    """Most informative first, and how many each run gained, lost, had right and wrong twice."""
    found: dict[str, Question] = {}
    counts: dict[int, dict[str, int]] = {}
    for row in rows:
        counted = {"gained": 0, "lost": 0, "right": 0, "wrong": 0}
        for key, base, trained in _pairs(row):
            gain = share(trained) - share(base)
            if gain == 0:
                counted["right" if share(base) > 0.5 else "wrong"] += 1
                continue
            counted["gained" if gain > 0 else "lost"] += 1
            question = found.setdefault(key, _question(key, base))
            better, worse = gain > 0, gain < 0
            change = Change(row.index, gain, _answer(base, worse), _answer(trained, better))
            question.changes.append(change)
        if sum(counted.values()):
            counts[row.index] = counted
    return sorted(found.values(), key=lambda q: (-q.interest(), q.id)), counts


def _question(key: str, row: dict[str, Any]) -> Question:
    is_code = "execution" in row
    question, gold = ((cut if is_code else _cut)(str(row[part])) for part in ("question", "gold"))
    return Question(key, question, gold, code=is_code)


def selected(questions: Sequence[Question], size: int) -> list[Question]:
    """As many as `size` bytes hold, in their order; each run and kind in turn has its next one."""
    chosen: dict[str, Question] = {}
    lists: dict[tuple[int, str], list[Question]] = {}
    for question in questions:
        for change in question.changes:
            lists.setdefault((change.run, change.kind), []).append(question)
    waiting = {key: iter(waiters) for key, waiters in lists.items()}
    while waiting:
        for key, rest in sorted(waiting.items()):
            following = next((q for q in rest if q.id not in chosen), None)
            if following is None or following.size() > size:
                del waiting[key]
            else:
                size -= following.size()
                chosen[following.id] = following
    return [question for question in questions if question.id in chosen]


def _pairs(row: RunRow) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Id and rows of both evaluations of a run, of questions that both could be verified on."""
    base, trained = (read_rows(row.directory, phase) for phase in ("base", "trained"))
    for key in base:
        if key in trained and None not in [*base[key]["reward"], *trained[key]["reward"]]:
            yield key, base[key], trained[key]


def _answer(row: dict[str, Any], right: bool) -> Answer | CodeAnswer:
    """The sample that shows the change: a right one where the model does better, else a wrong."""
    place = next((i for i, correct in enumerate(row["correct"]) if bool(correct) is right), 0)
    if ran := row.get("execution", {place: None})[place]:
        return code_answer(ran)
    text, read = str(row["completion"][place]), row["extracted"][place]
    at = text.rfind(str(read)) if read else -1
    if at < 0:
        return Answer(_cut(text), "", "", read)
    end = at + len(str(read))
    return Answer(_tail(text[:at]), _cut(str(read)), text[end:][: CHARACTERS // 4], _cut(str(read)))


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[:CHARACTERS]} …"


def _tail(text: str) -> str:
    """The end, which is where an answer is led up to."""
    return text if len(text) <= CHARACTERS else f"… {text[-CHARACTERS:]}"
