"""Evaluation with the real numeric verifier and a sampler that answers from a script."""

import json

import pytest

from rlvr.evaluation.evaluate import evaluate, metrics, score, shares
from rlvr.sampling.plain import Completions
from rlvr.sampling.stop import StopRule
from rlvr.verify.numeric import NumericVerifier

STOP = StopRule(("\nQuestion:",), "#### The final answer is")
VERIFIER = NumericVerifier(answer_prefix="#### The final answer is")


class Script:
    """Answers prompt i from the i-th list in turn, then runs on into a wrong next answer."""

    def __init__(self, answers):
        self.answers = {f"p{i}": iter(a) for i, a in enumerate(answers)}
        self.batches = []

    def __call__(self, prompts):
        self.batches.append(len(prompts))
        texts = [
            f" so.\n#### The final answer is {next(self.answers[p.strip()])}\n\nQuestion: next?\n"
            "#### The final answer is 99"
            for p in prompts
        ]
        return Completions([[1, 2, 3]] * len(texts), texts, [True] * len(texts))


def dataset(golds):
    return [
        {"index": i, "prompt": f"p{i}" + " " * i, "question": f"q{i}", "gold": g}
        for i, g in enumerate(golds)
    ]


def run(tmp_path, script, golds, k=1, batch_size=4):
    file = tmp_path / "rows.jsonl"
    options = {"k": k, "batch_size": batch_size, "file": file}
    return evaluate(script, dataset(golds), VERIFIER, STOP, **options), file


def test_rows_are_in_order_scored_and_on_disk(tmp_path):
    rows, file = run(tmp_path, Script([[1], [0], [3]]), ["1", "2", "3"])
    assert [r["index"] for r in rows] == [0, 1, 2]
    assert [r["correct"] for r in rows] == [[True], [False], [True]]
    assert rows[0]["completion"] == [" so.\n#### The final answer is 1"]
    on_disk = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(r["index"] for r in on_disk) == [0, 1, 2]


def test_k_samples_give_shares_and_unbiased_pass_at_k(tmp_path):
    rows, _ = run(tmp_path, Script([[1, 0, 0, 1], [0, 0, 0, 0]]), ["1", "2"], k=4)
    result = score(rows)
    assert shares(rows) == [0.5, 0.0]
    assert result.accuracy == 0.25
    assert result.n == 2
    assert list(result.pass_at_k) == ["1", "2", "4"]
    assert result.pass_at_k["2"] == pytest.approx((1 - 1 / 6) / 2)
    assert result.pass_at_k["4"] == 0.5


def test_batches_hold_at_most_batch_size_completions(tmp_path):
    script = Script([[1, 1]] * 5)
    run(tmp_path, script, ["1"] * 5, k=2, batch_size=4)
    assert script.batches == [4, 4, 2]


def test_an_interrupted_evaluation_goes_on_and_drops_a_torn_line(tmp_path):
    rows, file = run(tmp_path, Script([[1], [2], [3]]), ["1", "2", "3"])
    whole = file.read_text().splitlines(True)
    file.write_text(whole[0] + whole[1][:-5])
    script = Script([[1], [2], [3]])
    again, _ = run(tmp_path, script, ["1", "2", "3"])
    assert again == rows
    assert sum(script.batches) == 2


def test_a_question_the_verifier_failed_on_is_left_out_of_n(tmp_path):
    rows, _ = run(tmp_path, Script([[1], [2]]), ["1", "2"])
    rows[1]["reward"] = [None]
    assert score(rows).n == 1
    assert score(rows).accuracy == 1.0
    rows[0]["reward"] = [None]
    with pytest.raises(ValueError, match="no question could be verified"):
        score(rows)


def test_metrics_name_every_reason(tmp_path):
    rows, _ = run(tmp_path, Script([[1], [0]]), ["1", "2"])
    named = metrics("base", score(rows))
    assert named["base/accuracy"] == 0.5
    assert named["base/reason_wrong"] == 1
    assert named["base/reason_timeout"] == 0
