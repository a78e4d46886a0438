"""Procedural, GSM8K-shaped arithmetic word problems: five shapes, one to three steps, no files.

Which split a question belongs to depends on its text alone, so that the test questions of one seed
are never training questions of another, nor of the shipped `tiny` model.
"""

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rlvr.data.rows import Row
from rlvr.errors import UserError

# Sentences bring their own leading space, except those that open a question.
PRONOUNS = {
    "Anna": "She",
    "Ben": "He",
    "Carl": "He",
    "Dora": "She",
    "Emil": "He",
    "Finn": "He",
    "Gina": "She",
    "Helen": "She",
}
ITEMS = ("apples", "balls", "cards", "coins", "eggs", "pens", "stamps", "toys")
CONTAINERS = ("bags", "boxes")
MORE = (" {who} buys {n} more.", " {who} finds {n} more.", " {who} gets {n} more from a friend.")
LESS = (" {who} gives away {n}.", " {who} loses {n}.", " {who} sells {n}.")
CHANGES_START = "{name} has {n} {items}."
CHANGES_ASK = " How many {items} does {name} have now?"
PACKS_START = "{name} has {n} {containers} of {m} {items}."
COMPARE_START = "{name} has {n} {items}. {other} has {m} {relation} than {name}."
COMPARE_RELATIONS = {"more": "+", "fewer": "-"}
COMPARE_ASK_OTHER = " How many {items} does {other} have?"
COMPARE_ASK_ALL = " How many {items} do they have together?"
COMPARE_GIVE = " They give away {k}. How many {items} are left?"
PATIENCE = 1_000  # draws without a new question after which there are taken to be no more


@dataclass
class Problem:
    """A question under construction: its text so far and the written steps to its answer."""

    steps: list[str] = field(default_factory=list)
    question: str = ""
    value: int = 0

    def say(self, sentence: str, **words: object) -> None:
        self.question += sentence.format(**words)

    def work(self, left: int, operator: str, right: int) -> int:
        self.value = {"+": left + right, "-": left - right, "*": left * right}[operator]
        self.steps.append(f"{left} {operator} {right} = {self.value}.")
        return self.value

    @property
    def solution(self) -> str:
        return " ".join(self.steps)


@dataclass(frozen=True)
class ProductTexts:
    """The sentences of a shape that begins with n times m."""

    start: str
    plain: str
    plus: str
    ask_total: str
    ask_rest: str


SHOP = ProductTexts(
    start="{name} buys {n} {items} for {m} dollars each",
    plain=".",
    plus=" and a bag for {k} dollars.",
    ask_total=" How many dollars does {name} spend?",
    ask_rest=" {who} pays with {whole} dollars. How many dollars does {who_small} get back?",
)
READING = ProductTexts(
    start="{name} reads {n} pages a day for {m} days",
    plain=".",
    plus=" and {k} more pages.",
    ask_total=" How many pages does {name} read?",
    ask_rest=" The book has {whole} pages. How many pages are left?",
)


@dataclass(frozen=True)
class Choices:
    """Seeded choices. Amounts are 2 to `largest` (or `most`), factors 2 to half of `largest`."""

    rng: random.Random
    largest: int

    def amount(self, most: int | None = None) -> int:
        return self.rng.randint(2, self.largest if most is None else min(most, self.largest))

    def factor(self) -> int:
        return self.rng.randint(2, self.largest // 2)

    def who(self) -> dict[str, str]:
        name, other = self.rng.sample(sorted(PRONOUNS), 2)
        who = PRONOUNS[name]
        return {"name": name, "other": other, "who": who, "who_small": who.lower()}


def _change(problem: Problem, draw: Choices, words: dict[str, str]) -> None:
    """One more sentence that adds to the running total or takes from it."""
    adds = problem.value < 4 or draw.rng.random() < 0.5
    n = draw.amount(None if adds else problem.value - 1)
    problem.say(draw.rng.choice(MORE if adds else LESS), n=n, **words)
    problem.work(problem.value, "+" if adds else "-", n)


def changes(draw: Choices, steps: int) -> Problem:
    problem, words = Problem(), draw.who() | {"items": draw.rng.choice(ITEMS)}
    problem.value = draw.amount()
    problem.say(CHANGES_START, n=problem.value, **words)
    for _ in range(steps):
        _change(problem, draw, words)
    problem.say(CHANGES_ASK, **words)
    return problem


def packs(draw: Choices, steps: int) -> Problem:
    problem, words = Problem(), draw.who() | {"items": draw.rng.choice(ITEMS)}
    n, m = draw.factor(), draw.factor()
    problem.say(PACKS_START, n=n, m=m, containers=draw.rng.choice(CONTAINERS), **words)
    problem.work(n, "*", m)
    for _ in range(steps - 1):
        _change(problem, draw, words)
    problem.say(CHANGES_ASK, **words)
    return problem


def compare(draw: Choices, steps: int) -> Problem:
    problem, words = Problem(), draw.who() | {"items": draw.rng.choice(ITEMS)}
    n = draw.amount() + 2
    relation = draw.rng.choice(sorted(COMPARE_RELATIONS))
    m = draw.amount(n - 1 if relation == "fewer" else None)
    problem.say(COMPARE_START, n=n, m=m, relation=relation, **words)
    others = problem.work(n, COMPARE_RELATIONS[relation], m)
    if steps > 1:
        problem.work(n, "+", others)
    if steps > 2:
        k = draw.amount(problem.value - 1)
        problem.say(COMPARE_GIVE, k=k, **words)
        problem.work(problem.value, "-", k)
    else:
        problem.say(COMPARE_ASK_OTHER if steps == 1 else COMPARE_ASK_ALL, **words)
    return problem


def _product(draw: Choices, steps: int, texts: ProductTexts) -> Problem:
    """One step: n * m. Two: what that leaves of a whole. Three: n * m + k first."""
    problem, words = Problem(), draw.who() | {"items": draw.rng.choice(ITEMS)}
    n, m = draw.factor(), draw.factor()
    problem.say(texts.start, n=n, m=m, **words)
    problem.work(n, "*", m)
    k = draw.amount()
    problem.say(texts.plus if steps > 2 else texts.plain, k=k)
    if steps > 2:
        problem.work(problem.value, "+", k)
    whole = problem.value + draw.amount()
    problem.say(texts.ask_rest if steps > 1 else texts.ask_total, whole=whole, **words)
    if steps > 1:
        problem.work(whole, "-", problem.value)
    return problem


def shop(draw: Choices, steps: int) -> Problem:
    return _product(draw, steps, SHOP)


def reading(draw: Choices, steps: int) -> Problem:
    return _product(draw, steps, READING)


SHAPES: tuple[Callable[[Choices, int], Problem], ...] = (changes, packs, compare, shop, reading)


def is_test(question: str) -> bool:
    """One question in five is a test question, whatever the seed."""
    return zlib.crc32(question.encode()) % 5 == 0


def stream(seed: int, *, max_steps: int, largest: int) -> Iterator[Row]:
    """Endless rows in a seeded order, test and training questions mixed, repeats possible."""
    draw = Choices(random.Random(seed), largest)
    while True:
        shape, steps = draw.rng.choice(SHAPES), draw.rng.randint(1, max_steps)
        problem = shape(draw, steps)
        yield {
            "question": problem.question,
            "gold": str(problem.value),
            "solution": problem.solution,
            "shape": shape.__name__,
            "steps": steps,
        }


def _check(path: str | None, sizes: dict[str, int], max_steps: int, largest: int) -> None:
    if path is not None:
        raise UserError(
            f"dataset.path={path}: word_problems are generated and read no file. "
            "Remove dataset.path, or take dataset=jsonl for files of your own."
        )
    for name, size in sizes.items():
        if size < 1:
            raise UserError(f"dataset.loader.{name}={size}: expected 1 or more.")
    if not 1 <= max_steps <= 3:
        raise UserError(f"dataset.loader.max_steps={max_steps}: expected 1, 2 or 3.")
    if largest < 6:
        raise UserError(f"dataset.loader.largest={largest}: expected 6 or more.")


def load(
    *,
    path: str | None,
    seed: int,
    train_size: int = 2000,
    test_size: int = 500,
    max_steps: int = 3,
    largest: int = 12,
) -> dict[str, list[Row]]:
    """Distinct problems: `question`, `gold` (an integer as text), `solution`, `shape`, `steps`.

    `largest` bounds the amounts drawn; totals exceed it. Raises UserError for sizes below 1,
    max_steps outside 1..3, largest below 6, or more questions than there are.
    """
    _check(path, {"train_size": train_size, "test_size": test_size}, max_steps, largest)
    wanted = {"train": train_size, "test": test_size}
    found: dict[str, dict[str, Row]] = {"train": {}, "test": {}}
    fruitless = 0
    for row in stream(seed, max_steps=max_steps, largest=largest):
        name = "test" if is_test(row["question"]) else "train"
        new = row["question"] not in found[name] and len(found[name]) < wanted[name]
        fruitless = 0 if new else fruitless + 1
        if new:
            found[name][row["question"]] = row
        if all(len(found[split]) == size for split, size in wanted.items()):
            return {split: list(rows.values()) for split, rows in found.items()}
        if fruitless == PATIENCE:
            break
    raise UserError(
        f"dataset.loader: found only {len(found['train'])} training and {len(found['test'])} test "
        f"questions with max_steps={max_steps} and largest={largest}. Raise largest, or lower "
        "train_size and test_size."
    )
