"""Evaluation of a real model by the real verifier: whatever happens on the way, the same rows."""

import contextlib
import json
import os
import random
import signal
import time
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from rlvr.evaluation.evaluate import Asker, evaluate
from rlvr.evaluation.store import Store
from rlvr.evaluation.tasks import Task
from rlvr.sampling.engine import Sampling
from rlvr.sampling.plain import PlainEngine
from rlvr.sampling.shared import SharedEngine
from rlvr.sampling.stop import StopRule
from rlvr.verify.numeric import NumericVerifier

STOP = StopRule(("\nQuestion:",), "#### The final answer is")
SAMPLED = Sampling(12, temperature=1.0)


def questions(count):
    return [
        {"index": i, "prompt": f"Question: {i} + {i}?" + " Think." * (i % 3), "question": f"{i}?",
         "gold": str(2 * i)}
        for i in range(count)
    ]  # fmt: skip


def task(count=10, verifier=None):
    return Task("main", questions(count), verifier or NumericVerifier(), STOP)


@pytest.fixture
def asker(random_model, tokenizer):
    def lend():
        return nullcontext(random_model)

    return Asker(SharedEngine(tokenizer), tokenizer, lend, {"m": 1}, SAMPLED, 3, 2, 8)


def run(asker, asked, folder, name="rows"):
    folder.mkdir(exist_ok=True)
    return evaluate(asker, asked, root=folder / "answers", file=folder / f"{name}.jsonl")


def said(rows):
    return {row["question"]: row["completion"] for row in rows}


def test_rows_are_those_asked_in_order_and_on_disk(asker, tmp_path):
    rows = run(asker, task(), tmp_path)
    assert [row["index"] for row in rows] == [*range(10)]
    assert all(len(row["completion"]) == len(row["correct"]) == 2 for row in rows)
    on_disk = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert on_disk == rows


def test_fewer_questions_later_return_only_themselves(asker, tmp_path):
    many = run(asker, task(10), tmp_path)
    few = run(asker, replace(task(), questions=questions(10)[3:6]), tmp_path)
    assert few == many[3:6]


def test_order_and_batch_size_change_nothing(asker, tmp_path):
    first = run(asker, task(), tmp_path / "a")
    turned = replace(task(), questions=questions(10)[::-1])
    assert said(run(asker, turned, tmp_path / "b")) == said(first)
    assert run(replace(asker, batch_size=3), task(), tmp_path / "c") == first


def test_every_sample_and_question_has_its_own_draws(asker, tmp_path):
    same = [{**question, "prompt": "Question: 1?"} for question in questions(3)]
    rows = run(asker, replace(task(), questions=same), tmp_path)
    texts = [text for row in rows for text in row["completion"]]
    assert len(set(texts)) == len(texts) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"identity": {"m": 2}},
        {"seed": 4},
        {"k": 1},
        {"sampling": replace(SAMPLED, temperature=0.5)},
        {"sampling": replace(SAMPLED, max_new_tokens=11)},
        {"engine": PlainEngine},
    ],
)
def test_what_was_asked_differently_is_not_reused(asker, tokenizer, tmp_path, change):
    run(asker, task(), tmp_path)
    if "engine" in change:
        change = {"engine": PlainEngine(tokenizer)}
    other = replace(asker, **change)
    store = Store(tmp_path / "answers", other.asked(task()))
    store.refresh()
    assert not store.known


def test_another_stop_rule_is_another_way_of_asking(asker, tmp_path):
    run(asker, task(), tmp_path)
    other = Store(tmp_path / "answers", asker.asked(replace(task(), stop=StopRule(("\nHuman:",)))))
    other.refresh()
    assert not other.known


def test_greedy_answers_do_not_depend_on_the_seed(asker, tmp_path):
    greedy = replace(asker, sampling=Sampling(12, temperature=0), k=1)
    assert greedy.asked(task()) == replace(greedy, seed=99).asked(task())


class Forbidden(PlainEngine):
    name = "shared"

    def sample(self, *arguments):
        raise AssertionError("the answers are known")


def test_known_answers_are_not_asked_again_but_judged_anew(asker, tokenizer, tmp_path):
    first = run(asker, task(), tmp_path)
    again = replace(asker, engine=Forbidden(tokenizer))
    assert run(again, task(), tmp_path) == first
    tolerant = task(verifier=NumericVerifier(absolute_tolerance=1e6))
    rows = run(again, tolerant, tmp_path)
    assert said(rows) == said(first)


class Counting(NumericVerifier):
    calls = 0

    def verify(self, completions, golds, **columns):
        self.calls += 1
        return super().verify(completions, golds, **columns)


def test_one_verdict_a_completion(asker, tmp_path):
    verifier = Counting()
    run(asker, task(verifier=verifier), tmp_path)
    assert verifier.calls == 1


def test_both_engines_say_and_get_the_same(asker, tokenizer, tmp_path):
    shared = run(asker, task(), tmp_path / "a")
    plain = run(replace(asker, engine=PlainEngine(tokenizer)), task(), tmp_path / "b")
    assert plain == shared


def forked(asker, folder, name="rows"):
    """The pid of a child process that evaluates."""
    child = os.fork()
    if child == 0:
        run(asker, task(60), folder, name)
        os._exit(0)
    return child


def ended(child):
    return os.waitpid(child, 0)


def batches(folder):
    return len([*folder.rglob("*/*.jsonl")])


def killed(child, folder, more, after):
    """Killed `after` seconds from when `more` batches were written, unless it is done by then."""
    enough = batches(folder) + more
    while batches(folder) < enough and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.001)
    time.sleep(after)
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(child, signal.SIGKILL)
        ended(child)


@pytest.mark.slow
def test_killed_at_ten_moments_and_two_at_once_end_with_the_same_rows(asker, tmp_path):
    """One undisturbed process; two at once; and one killed with -9 again and again."""
    torch.set_num_threads(1)  # a forked child has no threads of torch's pool
    ended(forked(asker, tmp_path / "alone"))
    for child in [forked(asker, tmp_path / "both", name) for name in ("a", "b")]:
        ended(child)
    moments, written = random.Random(0), []
    for _ in range(10):
        child = forked(asker, tmp_path / "killed")
        killed(child, tmp_path / "killed", moments.randrange(3), moments.uniform(0, 0.01))
        written.append(batches(tmp_path / "killed"))
    assert 0 < written[4] < 15, "it was killed at work"
    assert not (tmp_path / "killed/rows.jsonl").exists() or written[-1] == 15
    ended(forked(asker, tmp_path / "killed"))
    expected = (tmp_path / "alone/rows.jsonl").read_text()
    assert len(expected.splitlines()) == 60
    for name in ("killed/rows", "both/a", "both/b"):
        assert (tmp_path / f"{name}.jsonl").read_text() == expected
    for name in ("alone", "both", "killed"):
        assert batches(tmp_path / name) == 15, "no batch was answered twice"
