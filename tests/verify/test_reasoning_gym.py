"""The reasoning_gym verifier: its verdicts, and what happens when a task's own scorer fails."""

from functools import cache, partial

import pytest

from rlvr.data.sources.reasoning_gym import load
from rlvr.errors import UserError
from rlvr.verify.pool import WorkerPool
from rlvr.verify.reasoning_gym import ReasoningGymVerifier
from rlvr.verify.verdict import Reason, Verdict

pytest.importorskip("reasoning_gym", reason="reasoning_gym is an optional package")

A = "\n#### The final answer is "


def train_rows(task: str, **changes: object) -> list[dict[str, object]]:
    arguments = {"path": None, "seed": 1, "train_size": 6, "test_size": 4} | changes
    return load(task=task, **arguments)["train"]


verifier_of = cache(partial(ReasoningGymVerifier, workers=1))  # each starts a process


def verdicts(task, rows, completions, verifier=None) -> list[Verdict]:
    columns = {name: [r[name] for r in rows] for name in ("question", "metadata")}
    golds = [str(r["gold"]) for r in rows]
    return (verifier or verifier_of(task)).verify(completions, golds, **columns)


# One line, several lines, tuples in the metadata, several right answers, a gold from the metadata.
@pytest.mark.parametrize(
    "task",
    ["chain_sum", "mini_sudoku", "arc_agi", "countdown", "propositional_logic", "graph_color"],
)
def test_golds_are_correct_and_wrong_answers_are_not(task: str) -> None:
    rows = train_rows(task, train_size=2, test_size=1)
    completions = [f"so{A}{r['gold']}\n" for r in rows] + [f"so{A}nonsense" for r in rows]
    judged = verdicts(task, rows * 2, completions)
    assert [v.reason for v in judged[:2]] == [Reason.CORRECT] * 2
    assert [v.reward for v in judged[:2]] == [1.0] * 2
    assert all(v.reward is not None and v.reward < 0.5 for v in judged[2:])


def test_composite() -> None:
    config = {"datasets": [{"name": "chain_sum"}, {"name": "mini_sudoku", "weight": 2}]}
    rows = train_rows("composite", config=config)
    golds = [f"{A}{row['gold']}" for row in rows]
    assert all(
        v.correct
        for v in verdicts("composite", rows, golds, ReasoningGymVerifier("composite", config))
    )


def test_partial_scores_are_the_reward() -> None:
    row = train_rows("mini_sudoku", train_size=1)[0]
    grid = str(row["gold"]).split("\n")
    wrong = "\n".join([*grid[:-1], " ".join(reversed(grid[-1].split()))])
    verdict = verdicts("mini_sudoku", [row], [A + wrong])[0]
    assert verdict.reason is Reason.PARTIAL
    assert verdict.reward is not None
    assert 0 < verdict.reward < 1
    assert verdict.format_ok


def test_reasons() -> None:
    row = train_rows("chain_sum")[0]
    gold = row["gold"]
    cases = {
        f"<think>{A}1</think>{A}{gold}": Reason.CORRECT,
        f"{A}{gold}{A}{gold}": Reason.CORRECT,
        f"{A}{gold}{A}5": Reason.MULTIPLE_ANSWERS,
        f"the answer is {gold}": Reason.NO_ANSWER,
        f"{A}": Reason.NO_ANSWER,
        "": Reason.NO_ANSWER,
        A + "9" * 30_000: Reason.UNPARSEABLE,
    }
    judged = verdicts("chain_sum", [row] * len(cases), list(cases))
    assert [v.reason for v in judged] == list(cases.values())


def test_an_answer_the_task_cannot_read_is_unparseable() -> None:
    row = train_rows("prime_factorization")[0]
    assert verdicts("prime_factorization", [row], [A + "foo"])[0].reason is Reason.UNPARSEABLE


def test_a_hanging_answer_times_out_and_the_rest_is_scored() -> None:
    """string_insertion evaluates the answer as Python."""
    row = train_rows("string_insertion")[0]
    answers = ["[9**9**9**9]", row["gold"]]
    verifier = ReasoningGymVerifier("string_insertion", seconds=2.0)
    judged = verdicts("string_insertion", [row] * 2, [f"{A}{a}" for a in answers], verifier)
    assert [v.reason for v in judged] == [Reason.TIMEOUT, Reason.CORRECT]
    assert (judged[0].reward, judged[0].format_ok) == (None, True)


def test_a_dying_scorer_is_no_wrong_answer_and_prints_reach_nobody() -> None:
    row = train_rows("string_insertion")[0]
    answers = ["[__import__('os')._exit(0)]", "[print('{\"score\": 1.0}')]", row["gold"]]
    judged = verdicts("string_insertion", [row] * 3, [f"{A}{answer}" for answer in answers])
    assert (judged[0].reason, judged[0].reward) == (Reason.INFRA_ERROR, None)
    assert not judged[1].correct
    assert judged[2].correct


def test_the_scorer_sees_no_environment_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_TEST_SECRET", "x")
    row = train_rows("string_insertion")[0]
    gold = str(row["gold"])
    answer = f"[{gold!r} if 'RLVR_TEST_SECRET' in __import__('os').environ else 'unset']"
    assert not verdicts("string_insertion", [row], [A + answer])[0].correct


def test_lengths_and_columns() -> None:
    row = train_rows("chain_sum")[0]
    verifier = ReasoningGymVerifier("chain_sum")
    with pytest.raises(ValueError, match="zip"):
        verifier.verify(["a", "b"], ["1"], question=["q"], metadata=[row["metadata"]])
    with pytest.raises(UserError, match="question and metadata"):
        verifier.verify(["a"], ["1"])


@pytest.mark.parametrize("gold", [None, "", 3, ["a"]])
def test_what_is_no_gold(gold: object) -> None:
    with pytest.raises(ValueError, match="expected text"):
        ReasoningGymVerifier("chain_sum").canonical(gold)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "chain_sums"}, "no such task; did you mean chain_sum"),
        ({"task": "chain_sum", "config": {"min_term": 2}}, "Its settings are: .*min_terms"),
        ({"task": "chain_sum", "seconds": 0}, "seconds=0, workers=2 of the verifier"),
    ],
)
def test_bad_input_is_said_before_anything_is_scored(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ReasoningGymVerifier(**arguments)


def test_scorers_that_do_not_start_are_a_fault_and_not_a_zero() -> None:
    row = train_rows("chain_sum")[0]
    verifier = ReasoningGymVerifier("chain_sum")
    verifier._pool = WorkerPool("no_such_worker", workers=1, seconds=1)
    judged = verdicts("chain_sum", [row] * 2, [f"{A}{row['gold']}", "no answer"], verifier)
    assert [(v.reason, v.reward) for v in judged] == [
        (Reason.INFRA_ERROR, None),
        (Reason.NO_ANSWER, 0.0),
    ]


def test_metadata_that_is_broken_is_a_fault_and_not_a_zero() -> None:
    row = train_rows("chain_sum")[0] | {"metadata": "no json"}
    judged = verdicts("chain_sum", [row], [f"{A}{row['gold']}"])
    assert (judged[0].reason, judged[0].reward) == (Reason.INFRA_ERROR, None)
