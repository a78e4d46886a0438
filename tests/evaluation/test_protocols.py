"""Several rules on the same questions: nothing is asked twice, and a made-up gain is found out."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from rlvr.config.schema import Protocol
from rlvr.errors import UserError
from rlvr.evaluation.evaluate import Asker, evaluate
from rlvr.evaluation.protocols import add_gaps, protocol_tasks
from rlvr.evaluation.score import score
from rlvr.evaluation.tasks import MAIN, Task
from rlvr.result import read
from rlvr.run import run
from rlvr.sampling.engine import Completions, Sampling
from rlvr.sampling.stop import StopRule
from rlvr.verify.numeric import NumericVerifier

ALL = tuple(Protocol)
ANSWER = "#### The final answer is"


def config(*protocols, answer_prefix=ANSWER):
    prompt = SimpleNamespace(answer_prefix=answer_prefix)
    dataset, chosen = SimpleNamespace(prompt=prompt), SimpleNamespace(protocols=[*protocols])
    return SimpleNamespace(dataset=dataset, eval=chosen)


def own_task(count=60, gold=str):
    asked = [
        {"index": i, "question": f"{i}?", "prompt": f"Question: {i}?", "gold": gold(i)}
        for i in range(count)
    ]
    return Task(MAIN, asked, NumericVerifier(), StopRule(("\nQuestion:",), ANSWER))


class Scripted:
    """An engine whose model says `say(number)`, cut where the task's stop rule ends it."""

    name = "scripted"

    def __init__(self, say):
        self.say, self.asked = say, []

    def sample(self, model, prompts, sampling, stop, seeds):
        self.asked += [(prompt, stop) for prompt in prompts]
        whole = [self.say(int(prompt.rpartition(" ")[2].strip("?"))) for prompt in prompts]
        return Completions([[1]] * len(whole), [stop.cut(t) for t in whole], [True] * len(whole))


def ask(engine, tasks, folder):
    folder.mkdir()
    lend = lambda: nullcontext(None)  # noqa: E731
    tokenizer = lambda text: {"input_ids": text}  # noqa: E731
    asker = Asker(engine, tokenizer, lend, {"model": folder.name}, Sampling(9), 0, 1, 8)
    return {
        task.name: evaluate(
            asker, task, root=folder / "answers", file=folder / f"{task.name}.jsonl"
        )
        for task in tasks
    }


def judged(say_base, say_trained, tmp_path, own=None):
    """Rows of both models under every rule, and the `protocols` of the result."""
    tasks = [own or own_task()]
    tasks += protocol_tasks(config(*ALL), tasks[0])
    base = ask(Scripted(say_base), tasks, tmp_path / "base")
    trained = ask(Scripted(say_trained), tasks, tmp_path / "trained")
    found = {task.title: {"other_form": task.other_form} for task in tasks if task.is_rule}
    return base, trained, found


def accuracies(rows):
    return {name.removeprefix("protocol."): score(found).accuracy for name, found in rows.items()}


def stopped(number):
    right = number if number % 3 == 0 else number + 1
    return f" It is {right}.\n{ANSWER} {right}\n"


def running_on(number):
    """The very same answers, and then an invented question."""
    return f"{stopped(number)}\nQuestion: 5 + 4?\n{ANSWER} 9999"


def test_a_rule_that_reads_an_invented_question_makes_a_gain_that_is_found_out(tmp_path):
    """The two models give the same answers; the trained one has learnt to stop."""
    base, trained, found = judged(running_on, stopped, tmp_path)
    assert accuracies(base)["main"] == accuracies(trained)["main"] == pytest.approx(1 / 3)
    assert accuracies(base)["reference_post"] == 0
    assert accuracies(trained)["reference_post"] == pytest.approx(1 / 3)
    (warning,) = add_gaps(found, base, trained)
    assert warning.startswith(
        "the gain of 33.3 points under reference_post is not there under the default rule (+0.0)"
    )
    assert "on the same 60 questions" in warning
    gap = found["reference_post"]["gap"]
    assert gap["points"] == pytest.approx(1 / 3)
    assert gap["low"] > 0.15
    assert gap["p_value"] < 0.001
    assert found["lm_eval_gsm8k.flexible-extract"]["warning"] is None


def test_a_gain_under_the_default_rule_that_others_do_not_see_is_found_out_too(tmp_path):
    """The base model is as good, it only lacks the answer line: training taught the form."""
    base, trained, found = judged(lambda n: f" It is {n}", lambda n: f"\n{ANSWER} {n}", tmp_path)
    warnings = add_gaps(found, base, trained)
    assert len(warnings) == 2
    assert warnings[0].startswith(
        "training changed accuracy by +0.0 points under lm_eval_gsm8k.flexible-extract and by "
        "+100.0 under the default rule: a difference of -100.0 points"
    )


def test_a_real_gain_is_no_artefact(tmp_path):
    base, trained, found = judged(stopped, lambda n: f" So {n}.\n{ANSWER} {n}\n", tmp_path)
    assert accuracies(trained)["main"] == accuracies(trained)["reference_post"] == 1
    assert not add_gaps(found, base, trained)


def test_a_few_questions_show_nothing(tmp_path):
    base, trained, found = judged(running_on, stopped, tmp_path, own_task(6))
    assert not add_gaps(found, base, trained)
    assert found["reference_post"]["gap"]["p_value"] == 1.0


def test_questions_that_the_verifier_failed_on_are_left_out_of_both(tmp_path):
    base, trained, found = judged(running_on, stopped, tmp_path)
    base["main"][0]["reward"] = [None]
    add_gaps(found, base, trained)
    assert found["reference_post"]["gap"]["n"] == 59


def test_only_a_rule_without_stops_asks_again(tmp_path):
    engine, own = Scripted(running_on), own_task(10)
    tasks = [own, *protocol_tasks(config(*ALL), own)]
    ask(engine, tasks, tmp_path / "model")
    assert [stop for _, stop in engine.asked] == [own.stop] * 10 + [StopRule()] * 10


def test_the_strict_filter_is_named_where_it_looks_for_another_form(tmp_path):
    base, trained, found = judged(stopped, stopped, tmp_path)
    assert ANSWER in found["lm_eval_gsm8k.strict-match"]["other_form"]
    add_gaps(found, base, trained)
    assert "gap" not in found["lm_eval_gsm8k.strict-match"], "0 % is no finding"
    tasks = protocol_tasks(config(Protocol.lm_eval_gsm8k, answer_prefix="####"), own_task())
    assert [task.other_form for task in tasks] == [None, None]


def test_the_default_adds_no_task_and_may_be_left_out():
    assert protocol_tasks(config(Protocol.default), own_task(gold=lambda i: "B")) == []
    assert len(protocol_tasks(config(Protocol.reference_post), own_task())) == 1


def test_golds_that_are_no_numbers_are_a_message():
    with pytest.raises(UserError, match=r"gold answer 'B' of question 0 .*protocols=\[default\]"):
        protocol_tasks(config(*ALL), own_task(gold=lambda i: "B"))


def test_a_run_leaves_every_rule_in_its_files(compose_config, tmp_path, capsys):
    cfg = compose_config(
        *("experiment=debug", "tracking=none", "trainer.max_steps=1", "eval.n=6"),
        "eval.protocols=[default,lm_eval_gsm8k,reference_post]",
    )
    folder = tmp_path / "run"
    run(cfg, folder)
    result = read(folder)
    rules = ["lm_eval_gsm8k.strict-match", "lm_eval_gsm8k.flexible-extract", "reference_post"]
    assert list(result.protocols) == rules
    for rule in rules:
        found = result.protocols[rule]
        for phase in ("base", "trained"):
            file = folder / f"evaluations/{phase}.protocol.{rule}.jsonl"
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            right = sum(row["correct"][0] for row in rows)
            assert found[phase]["n"] == len(rows) == 6
            assert found[phase]["accuracy"] == right / 6
            assert found[phase]["low"] <= right / 6 <= found[phase]["high"]
        assert found["paired"]["n"] == 6
    assert result.protocols["reference_post"]["gap"]["n"] == 6
    own, theirs = ((folder / f"evaluations/base{x}.jsonl").read_text().splitlines()
                   for x in ("", f".protocol.{rules[1]}"))  # fmt: skip
    completions = [[json.loads(line)["completion"] for line in lines] for lines in (own, theirs)]
    assert completions[0] == completions[1], "the same answers, judged by another rule"
    text = " ".join(capsys.readouterr().out.split())
    assert "*: lm_eval_gsm8k.strict-match looks for answers of another form" in text
    assert "reference_post" in text
