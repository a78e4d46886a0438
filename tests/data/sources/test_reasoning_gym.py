import sys
from functools import cache

import pytest

from rlvr.data.sources.reasoning_gym import EXEMPLARS, decode, encode, load
from rlvr.errors import UserError
from rlvr.verify.reasoning_gym import ReasoningGymVerifier
from rlvr.verify.verdict import Reason, Verdict

pytest.importorskip("reasoning_gym", reason="reasoning_gym is an optional package")

A = "\n#### The final answer is "


def small(task: str, **changes: object) -> dict[str, list[dict[str, object]]]:
    arguments = {"path": None, "seed": 1, "train_size": 6, "test_size": 4} | changes
    return load(task=task, **arguments)


verifier_of = cache(ReasoningGymVerifier)  # each starts a process


def verdicts(task, rows, completions, verifier=None) -> list[Verdict]:
    columns = {name: [r[name] for r in rows] for name in ("question", "metadata")}
    golds = [str(r["gold"]) for r in rows]
    return (verifier or verifier_of(task)).verify(completions, golds, **columns)


def test_splits_are_seeded_and_apart() -> None:
    splits = small("chain_sum", train_size=200, test_size=100)
    asked = {name: {r["question"] for r in rows} for name, rows in splits.items()}
    assert {name: len(rows) for name, rows in splits.items()} == {
        "exemplars": EXEMPLARS,
        "test": 100,
        "train": 200,
    }
    assert not asked["train"] & asked["test"]
    assert not asked["exemplars"] & (asked["train"] | asked["test"])
    assert small("chain_sum", train_size=200, test_size=100) == splits
    other = small("chain_sum", seed=2, train_size=200, test_size=100)
    assert not {r["question"] for r in other["train"]} & asked["train"]


def test_a_small_task_gives_its_distinct_questions(caplog: pytest.LogCaptureFixture) -> None:
    config = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    splits = small("chain_sum", config=config, train_size=500, test_size=20)
    asked = [r["question"] for rows in splits.values() for r in rows]
    assert len(asked) == len(set(asked)) < 500
    assert "distinct train questions instead of 500" in caplog.text


def test_config_reaches_the_task() -> None:
    rows = small("chain_sum", config={"min_terms": 7, "max_terms": 7})["train"]
    assert all(str(r["question"]).count(" + ") + str(r["question"]).count(" - ") >= 6 for r in rows)


# One line, several lines, tuples in the metadata, several right answers, a gold from the metadata.
@pytest.mark.parametrize(
    "task",
    ["chain_sum", "mini_sudoku", "arc_agi", "countdown", "propositional_logic", "graph_color"],
)
def test_golds_are_correct_and_wrong_answers_are_not(task: str) -> None:
    rows = small(task, train_size=2, test_size=1)["train"]
    completions = [f"so{A}{r['gold']}\n" for r in rows] + [f"so{A}nonsense" for r in rows]
    judged = verdicts(task, rows * 2, completions)
    assert [v.reason for v in judged[:2]] == [Reason.CORRECT] * 2
    assert [v.reward for v in judged[:2]] == [1.0] * 2
    assert all(v.reward is not None and v.reward < 0.5 for v in judged[2:])


def test_composite() -> None:
    config = {"datasets": [{"name": "chain_sum"}, {"name": "mini_sudoku", "weight": 2}]}
    rows = small("composite", config=config, train_size=12)["train"]
    assert len({"Sudoku" in row["question"] for row in rows}) == 2
    golds = [f"{A}{row['gold']}" for row in rows]
    assert all(
        v.correct
        for v in verdicts("composite", rows, golds, ReasoningGymVerifier("composite", config))
    )


def test_partial_scores_are_the_reward() -> None:
    row = small("mini_sudoku", train_size=1)["train"][0]
    grid = str(row["gold"]).split("\n")
    wrong = "\n".join([*grid[:-1], " ".join(reversed(grid[-1].split()))])
    verdict = verdicts("mini_sudoku", [row], [A + wrong])[0]
    assert verdict.reason is Reason.PARTIAL
    assert verdict.reward is not None
    assert 0 < verdict.reward < 1
    assert verdict.format_ok


def test_reasons() -> None:
    row = small("chain_sum")["train"][0]
    gold = row["gold"]
    cases = {
        f"{A}{gold}\nQuestion: next?{A}5": Reason.CORRECT,
        f"<think>{A}1</think>{A}{gold}": Reason.CORRECT,
        f"{A}{gold}{A}{gold}": Reason.CORRECT,
        f"{A}{gold}{A}5": Reason.MULTIPLE_ANSWERS,
        f"the answer is {gold}": Reason.NO_ANSWER,
        f"{A}": Reason.NO_ANSWER,
        "": Reason.NO_ANSWER,
        None: Reason.NO_ANSWER,
        A + "9" * 30_000: Reason.UNPARSEABLE,
    }
    judged = verdicts("chain_sum", [row] * len(cases), list(cases))
    assert [v.reason for v in judged] == list(cases.values())


def test_an_answer_the_task_cannot_read_is_unparseable() -> None:
    row = small("prime_factorization")["train"][0]
    assert verdicts("prime_factorization", [row], [A + "foo"])[0].reason is Reason.UNPARSEABLE


def test_a_hanging_answer_times_out_and_the_rest_is_scored() -> None:
    """string_insertion evaluates the answer as Python."""
    row = small("string_insertion")["train"][0]
    answers = ["[9**9**9**9]", row["gold"]]
    verifier = ReasoningGymVerifier("string_insertion", timeout=2.0)
    judged = verdicts("string_insertion", [row] * 2, [f"{A}{a}" for a in answers], verifier)
    assert [v.reason for v in judged] == [Reason.TIMEOUT, Reason.CORRECT]


def test_a_dying_scorer_is_no_wrong_answer_and_prints_reach_nobody() -> None:
    row = small("string_insertion")["train"][0]
    answers = ["[__import__('os')._exit(0)]", "[print('{\"score\": 1.0}')]", row["gold"]]
    judged = verdicts("string_insertion", [row] * 3, [f"{A}{answer}" for answer in answers])
    assert (judged[0].reason, judged[0].reward) == (Reason.INFRA_ERROR, None)
    assert not judged[1].correct
    assert judged[2].correct


def test_the_scorer_sees_no_environment_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLVR_TEST_SECRET", "x")
    row = small("string_insertion")["train"][0]
    gold = str(row["gold"])
    answer = f"[{gold!r} if 'RLVR_TEST_SECRET' in __import__('os').environ else 'unset']"
    assert not verdicts("string_insertion", [row], [A + answer])[0].correct


def test_lengths_and_columns() -> None:
    row = small("chain_sum")["train"][0]
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
        ({"task": "chain_sums"}, r"no such task; did you mean chain_sum or"),
        ({"task": "qqqqqqqq"}, r"dataset\.loader\.task=qqqqqqqq: reasoning_gym has no such task"),
        ({"task": "rush_hour"}, r"gives no reference answer .*choose another task"),
        (
            {"task": "chain_sum", "config": {"min_term": 2}},
            r"min_term.*Its settings are: .*min_terms",
        ),
        ({"task": "chain_sum", "config": {"min_terms": -1}}, r"task chain_sum refuses it"),
        ({"task": "composite", "config": {"datasets": [{"nam": "x"}]}}, r"composite refuses it"),
        ({"task": "chain_sum", "train_size": 0}, r"dataset\.loader\.train_size=0"),
        ({"task": "chain_sum", "path": "x"}, r"dataset\.path=x: reasoning_gym generates"),
    ],
)
def test_bad_input(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small(**arguments)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(UserError, match=r"pip install 'rlvr\[reasoning-gym\]'"):
        small("chain_sum")


def test_metadata_keeps_tuples() -> None:
    metadata = {"a": ((1, 2), [3, (4,)]), "b": {"c": None}, "d": "text"}
    assert decode(encode(metadata)) == metadata
