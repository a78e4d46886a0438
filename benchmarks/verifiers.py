"""How fast and how right the verifiers are, next to the alternatives, in one process.

    python benchmarks/verifiers.py

Prints Markdown tables. GSM8K is read from ../shared/data/gsm8k (train.jsonl and test.jsonl);
without it the agreement tables are skipped. The slow alternatives see a stated, seeded sample.
"""

import json
import logging
import os
import random
import re
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from math_verify import parse, verify
from trl.rewards import accuracy_reward

from rlvr.rewards.functions import correctness_reward, format_reward
from rlvr.verify.judge import judge
from rlvr.verify.math import MathVerifier
from rlvr.verify.numeric import NumericVerifier

GSM8K = Path(__file__).resolve().parents[2] / "shared" / "data" / "gsm8k"
PREFIX = "#### The final answer is"
REASONING = "Natalia sold 48 clips in April, and then half as many in May: 48 / 2 = 24. "
SAMPLE = 100  # golds that the slow alternatives see

Grader = Callable[[Sequence[str], Sequence[str]], list[bool]]  # completions, golds -> verdicts
OURS = NumericVerifier()


def ours(completions: Sequence[str], golds: Sequence[str]) -> list[bool]:
    return [verdict.correct for verdict in OURS.verify(completions, golds)]


def ours_as_trained(completions: Sequence[str], golds: Sequence[str]) -> list[bool]:
    """One verdict a completion, then the format and the correctness reward."""
    rows = [{"prompt": "", "gold": gold} for gold in golds]
    verdicts = judge(OURS, rows, completions)
    paid = zip(format_reward(verdicts), correctness_reward(verdicts), strict=True)
    return [form == correct == 1 for form, correct in paid]


def reference(completions: Sequence[str], golds: Sequence[str]) -> list[bool]:
    """The reference recipe's rule: the first number after ####, compared as a float."""
    return [
        _reference(completion, gold) for completion, gold in zip(completions, golds, strict=True)
    ]


def _reference(completion: str, gold: str) -> bool:
    found = re.search(r"####.*?([\d,]+(?:\.\d+)?)", completion)
    if found is None:
        return False
    try:
        return abs(float(found[1].replace(",", "")) - float(gold)) < 1e-3
    except ValueError:
        return False


def trl(completions: Sequence[str], golds: Sequence[str]) -> list[bool]:
    chats = [[{"role": "assistant", "content": completion}] for completion in completions]
    rewards = accuracy_reward(chats, [rf"\boxed{{{gold}}}" for gold in golds])
    return [reward == 1 for reward in rewards]


def math_verify(completions: Sequence[str], golds: Sequence[str]) -> list[bool]:
    return [
        verify(parse(rf"\boxed{{{gold}}}"), parse(completion))
        for completion, gold in zip(completions, golds, strict=True)
    ]


FAST: dict[str, Grader] = {"ours": ours, "reference recipe": reference}
SLOW: dict[str, Grader] = {"TRL accuracy_reward": trl, "math-verify": math_verify}

# --- surface forms -----------------------------------------------------------------------------


def grouped(value: Decimal, separator: str = ",") -> str:
    return f"{value:,f}".replace(",", separator)


def signed(value: Decimal, body: str, minus: str = "-") -> str:
    return (minus if value < 0 else "") + body


def decimal(value: Decimal, places: int) -> str:
    return f"{value:f}" if value % 1 else f"{value:.{places}f}"


ON_THE_LINE: dict[str, Callable[[Decimal], str]] = {
    "12": lambda v: f"{v:f}",
    "1,234": grouped,
    "1 234": lambda v: grouped(v, " "),
    "1_234": lambda v: grouped(v, "_"),
    "1{,}234": lambda v: grouped(v, "{,}"),
    "12.": lambda v: f"{v:f}.",
    "12.0": lambda v: decimal(v, 1),
    "1,234.00": lambda v: grouped(v) if v % 1 else f"{v:,.2f}",
    "$12": lambda v: signed(v, f"${abs(v):f}"),
    "$ 1,234.": lambda v: signed(v, f"$ {grouped(abs(v))}."),
    "$-12": lambda v: f"${v:f}",
    "\u20ac12": lambda v: signed(v, f"\u20ac{abs(v):f}"),
    "unicode minus": lambda v: signed(v, f"{abs(v):f}", "\u2212"),
    "+12": lambda v: f"{v:+f}",
    "0012": lambda v: signed(v, f"00{abs(v):f}"),
    "12 apples": lambda v: f"{v:f} apples",
    "12 miles per hour.": lambda v: f"{v:f} miles per hour.",
    "12%": lambda v: f"{v:f}%",
    "**12**": lambda v: f"**{v:f}**",
    "$12$": lambda v: f"${v:f}$",
    "boxed": lambda v: rf"\boxed{{{v:f}}}",
    "12 text{ dollars}": lambda v: rf"{v:f}\text{{ dollars}}",
    "24/2": lambda v: f"{2 * v:f}/2" if not v % 1 else f"{10**4 * v:.0f}/{10**4}",
    "12e0": lambda v: f"{v:f}e0",
    ": 12": lambda v: f": {v:f}",
    "**12** eggs": lambda v: f"**{v:f}** eggs",
    "$12$ eggs": lambda v: f"${v:f}$ eggs",
    "$12/day": lambda v: signed(v, f"${abs(v):f}/day"),
    "12km/h": lambda v: f"{v:f}km/h",
    "12 sq. ft.": lambda v: f"{v:f} sq. ft.",
    "12 cookies left over": lambda v: f"{v:f} cookies left over",
}  # fmt: skip

IN_THE_TEXT: dict[str, Callable[[str], str]] = {
    "lower-case prefix": lambda a: f"{REASONING}\n#### the final answer is {a}",
    "next line": lambda a: f"{REASONING}\n{PREFIX}\n{a}",
    "said twice": lambda a: f"{REASONING}\n{PREFIX} {a}\nSo:\n{PREFIX} {a}.",
    "bold line": lambda a: f"{REASONING}\n**{PREFIX} {a}**",
    "bold prefix": lambda a: f"{REASONING}\n#### **The final answer is:** {a}",
    "display": lambda a: f"{REASONING}\n{PREFIX}\n\\[\n\\boxed{{{a}}}\n\\]",
    "after a thought": lambda a: f"<think>\n{PREFIX} 7654321\n</think>\n{PREFIX} {a}",
}
FORMS = [*ON_THE_LINE, *IN_THE_TEXT]


def render(form: str, value: Decimal) -> str:
    if form in IN_THE_TEXT:
        return IN_THE_TEXT[form](f"{value:f}")
    return f"{REASONING}\n{PREFIX} {ON_THE_LINE[form](value)}"


def near_misses(value: Decimal) -> dict[str, Decimal]:
    wrong = {
        "sign flipped": -value,
        "one more": value + 1,
        "one less": value - 1,
        "times 10": value * 10,
        "divided by 10": value / 10,
        "digits swapped": swapped(value),
    }
    return {name: near for name, near in wrong.items() if near != value}


def swapped(value: Decimal) -> Decimal:
    """The first two different neighbouring digits change places."""
    text = f"{value:f}"
    for i in range(len(text) - 1):
        if text[i : i + 2].isdigit() and text[i] != text[i + 1]:
            return Decimal(text[:i] + text[i + 1] + text[i] + text[i + 2 :])
    return value


def solutions() -> list[tuple[str, str]]:
    """All solutions and golds as the dataset writes them ("1,080"); none without the files."""
    rows = [
        json.loads(line)["answer"].rsplit("####", 1)
        for split in ("train", "test")
        if (GSM8K / f"{split}.jsonl").is_file()
        for line in (GSM8K / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    return [(solution, gold.strip()) for solution, gold in rows]


# --- tables ------------------------------------------------------------------------------------


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print(f"\n## {title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


def seconds(run: Callable[[], object], repeats: int = 7) -> float:
    """Best CPU time of this process."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


def completions_of_400_characters(count: int) -> tuple[list[str], list[str]]:
    """Answers are all different, in four forms; half of them are right."""
    forms = ["12", "1,234", "$ 1,234.", "12.0"]
    golds = [str(number * 37 + 11) for number in range(count)]
    lines = [
        f"\n{PREFIX} {ON_THE_LINE[forms[n % 4]](Decimal(g) + n // 4 % 2)}"
        for n, g in enumerate(golds)
    ]
    return [(REASONING * 6)[: 400 - len(line)] + line for line in lines], golds


def speed() -> None:
    rows = []
    for name, grader, count in [
        ("ours, verifier", ours, 20_000),
        ("ours, as trained: one verdict, format and correctness reward", ours_as_trained, 20_000),
        ("reference recipe", reference, 20_000),
        ("TRL accuracy_reward", trl, 500),
        ("math-verify", math_verify, 500),
    ]:
        completions, golds = completions_of_400_characters(count)
        taken = seconds(lambda g=grader, c=completions, a=golds: g(c, a)) / count
        rows.append([name, f"{taken * 1e6:,.1f}", f"{1 / taken:,.0f}"])
    table("Speed, 400-character completions, one core", ["rule", "us each", "per second"], rows)


def degenerate() -> None:
    rows = []
    for name, unit, size in [
        ("1 MB of #", "#", 10**6),
        ("1 MB of digits", "1", 10**6),
        ("1 MB of digits on the answer line", "1", 10**6),
        ("1 MB of answer lines", f"\n{PREFIX} 12", 10**6 // 27),
        ("16 KB of # (for the reference recipe's sake)", "#", 16_000),
    ]:
        text = (f"\n{PREFIX} " if "on the answer" in name else "") + unit * size
        slow = (
            f"{seconds(lambda t=text: _reference(t, '12'), 1) * 1e3:,.1f}"
            if size <= 16_000
            else "-"
        )
        rows.append([name, f"{seconds(lambda t=text: ours([t], ['12'])) * 1e3:.2f}", slow])
    table("Degenerate completions", ["completion", "ours, ms", "reference recipe, ms"], rows)


def agreement(golds: list[str]) -> None:
    sample = sorted(random.Random(0).sample(golds, SAMPLE))
    rare = sum(any(mark in gold for mark in ",-.") for gold in golds)
    print(
        f"\n{len(golds):,} golds, of which {rare} have a comma, sign or point, in {len(FORMS)} "
        f"forms each. {' and '.join(SLOW)} see {SAMPLE} golds, drawn with seed 0."
    )
    graders = {name: (grader, golds) for name, grader in FAST.items()}
    graders |= {name: (grader, sample) for name, grader in SLOW.items()}
    header = ["", *(f"{name} (of {len(seen):,})" for name, (_, seen) in graders.items())]
    missed = [(false_negatives(grader, seen), len(seen)) for grader, seen in graders.values()]
    rows = [[f"`{form}`", *(misses[form] for misses, _ in missed)] for form in FORMS]
    totals = [share(sum(misses.values()), len(FORMS) * seen) for misses, seen in missed]
    table("False negatives: the gold in each form", header, [*rows, ["**all**", *totals]])
    paid = [false_positives(grader, seen) for grader, seen in graders.values()]
    rows = [[kind, *(share(*hits[kind]) for hits in paid)] for kind in paid[0]]
    totals = [share(*map(sum, zip(*hits.values(), strict=True))) for hits in paid]
    table("False positives: near misses", ["", *graders], [*rows, ["**all**", *totals]])


def closing_phrases() -> list[tuple[str, str]]:
    """Golds and the closing phrases of GSM8K's solutions: the gold and at most four words."""
    found = []
    for solution, gold in solutions():
        sentence = re.split(r"(?<=[.!?])\s+|\n", re.sub(r"<<.*?>>", "", solution).strip())[-1]
        phrase = re.search(r"-?\$?-?(?<![0-9.,])[0-9][0-9,]*(?:\.[0-9]+)?[^0-9]*$", sentence)
        number = re.match(r"-?\$?(-?[0-9,.]*[0-9])(.*)", phrase[0], re.DOTALL) if phrase else None
        if number is None or len(number[2].split()) > 4:
            continue
        if Decimal(number[1].replace(",", "")) == Decimal(gold.replace(",", "")):
            found.append((gold, phrase[0]))
    return found


def phrases() -> None:
    pairs = closing_phrases()
    sample = sorted(random.Random(0).sample(pairs, min(SAMPLE, len(pairs))))
    rows = []
    for name, grader in (FAST | SLOW).items():
        seen = pairs if name in FAST else sample
        texts = [f"{REASONING}\n{PREFIX} {phrase}" for _, phrase in seen]
        golds = [gold for gold, _ in seen]
        wrong = [str(Decimal(gold.replace(",", "")) + 1) for gold in golds]
        refused, paid = grader(texts, golds).count(False), grader(texts, wrong).count(True)
        rows.append([name, share(refused, len(seen)), share(paid, len(seen))])
    title = "Closing phrases of GSM8K's solutions as answer lines"
    table(title, ["rule", "gold refused", "gold + 1 paid"], rows)


def share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({100 * part / whole:.2f} %)"


def false_negatives(grader: Grader, golds: Sequence[str]) -> dict[str, int]:
    values = [Decimal(gold.replace(",", "")) for gold in golds]
    return {
        form: grader([render(form, value) for value in values], golds).count(False)
        for form in FORMS
    }


def false_positives(grader: Grader, golds: Sequence[str]) -> dict[str, tuple[int, int]]:
    """For each kind of near miss how many are paid, and of how many."""
    found: dict[str, tuple[int, int]] = {}
    wrong = [(gold, near_misses(Decimal(gold.replace(",", "")))) for gold in golds]
    for kind in near_misses(Decimal(1234)):
        pairs = [(gold, near[kind]) for gold, near in wrong if kind in near]
        paid = sum(
            grader([render(form, value) for _, value in pairs], [gold for gold, _ in pairs]).count(
                True
            )
            for form in FORMS
        )
        found[kind] = (paid, len(pairs) * len(FORMS))
    return found


# --- mathematics -------------------------------------------------------------------------------

HANGS = [
    "10^{10^{10^{10}}}",
    "7^{999999999}",
    "99999999!",
    "9^{9^{9^{9}}}",
    r"\binom{100000000}{50000000}",
    r"\dfrac{5^{\left(5^{\left(5^{\left(5^5\right)}\right)}-4\right)}-5}{16}",
]


def latex_completions(count: int) -> tuple[list[str], list[str]]:
    """Different symbolic answers that are not numbers, half of them right."""
    shapes = [
        (r"\frac{{\pi}}{{{}}}", r"\pi/{}"),
        (r"x^2+{}", "{}+x^2"),
        (r"\sqrt{{{}}}+1", r"1+\sqrt{{{}}}"),
        (r"({},\infty)", r"({},\infty)"),
    ]
    golds, completions = [], []
    for n in range(count):
        gold, answer = shapes[n % 4]
        golds.append(gold.format(n + 2))
        completions.append(
            rf"{REASONING}So the answer is \boxed{{{answer.format(n + 2 + n // 4 % 2)}}}."
        )
    return completions, golds


# What is not 18, 9, 30, 450, pi/2 and the rest, in boxes.
NOT_THE_GOLD = [
    *(("18", r"18\text{ million}"), ("18", r"18\text{ is wrong}"), ("18", "14 4"), ("18", "19=18")),
    *(("18", r"18\approx 19"), ("18", "18_{16}"), ("9", "1 8"), ("30", "14 16"), ("450", "4 5 0")),
    *(("11", "2(9)"), (r"\frac{\pi}{2}", r"\pi=\frac{\pi}{2}"), ("x+1", "X+1"), ("1010_2", "1010")),
    *((r"\frac{\pi}{2}", r"\frac{\pi}{2}\text{ is wrong}"), ("x", r"\text{X}"), ("12:00", "1:00")),
]
THE_GOLD = [
    *(("B", r"\text{(B)}"), ("B", r"\textbf{(B)}"), ("yes", r"\text{Yes}"), ("18", "2(9)")),
    *(("18", r"18\text{ cm}^2"), ("18", "x = 18"), ("18", r"\sqrt{324}"), ("1010_2", "1010_{2}")),
    *((r"\{1,2\}", r"2, 1"), (r"\frac{\pi}{2}", r"\pi/2"), ("x^2+2x+1", "(x+1)^2")),
]


def strictness() -> None:
    verifier = MathVerifier(answer_prefix=None, seconds=60)

    def judged(completions: Sequence[str], golds: Sequence[str]) -> list[bool]:
        return [v.correct for v in verifier.verify(completions, golds)]

    rows = []
    for name, grader in ({"ours": judged} | SLOW).items():
        wrong, right = (
            grader([rf"So \boxed{{{answer}}}." for _, answer in pairs], [g for g, _ in pairs])
            for pairs in (NOT_THE_GOLD, THE_GOLD)
        )
        refused = share(right.count(False), len(right))
        rows.append([name, share(wrong.count(True), len(wrong)), refused])
    table("Boxed answers", ["rule", "not the gold, paid", "the gold, refused"], rows)


def mathematics() -> None:
    completions, golds = latex_completions(1_000)
    one, two = (MathVerifier(answer_prefix=None, workers=n, seconds=60) for n in (1, 2))
    for verifier in (one, two):
        verifier.canonical("x+1")  # a worker starts; the direct call has been imported as well

    def judge(verifier: MathVerifier) -> list[bool]:
        return [verdict.correct for verdict in verifier.verify(completions, golds)]

    rows = []
    for name, run in [
        ("math-verify, called directly", lambda: math_verify(completions, golds)),
        ("ours, one worker process", lambda: judge(one)),
        ("ours, two worker processes", lambda: judge(two)),
        ("ours, the same again (remembered)", lambda: judge(two)),
    ]:
        start = time.perf_counter()
        right = sum(run())
        rows.append([name, f"{time.perf_counter() - start:.2f}", right])
    table("1,000 symbolic answers, wall time", ["", "seconds", "judged right"], rows)
    hangs()


def hangs() -> None:
    verifier = MathVerifier(answer_prefix=None, seconds=2)
    good, golds = latex_completions(20)
    completions = [*good, *(rf"\boxed{{{hang}}}" for hang in HANGS)]
    start = time.perf_counter()
    verdicts = verifier.verify(completions, golds + [r"\pi"] * len(HANGS))
    scored = sum(verdict.reward is not None for verdict in verdicts[:20])
    print(
        f"\n{len(HANGS)} answers that hang math-verify among 20 ordinary ones, deadline 2 s: "
        f"{scored} of 20 scored, {sum(v.reason == 'timeout' for v in verdicts)} timeouts "
        f"(reward None), {time.perf_counter() - start:.1f} s in all."
    )


def main() -> None:
    logging.disable(logging.CRITICAL)
    speed()
    degenerate()
    golds = [gold for _, gold in solutions()]
    if golds:
        agreement(golds)
        phrases()
    else:
        print(f"\nNo GSM8K files in {GSM8K}: the agreement tables are skipped.")
    strictness()
    mathematics()


if __name__ == "__main__":
    main()
