"""What reasoning_gym is asked, without the pool around it."""

import pytest

from rlvr.errors import UserError
from rlvr.gym_tasks import create, encode
from rlvr.verify.reasoning_gym_worker import start

pytest.importorskip("reasoning_gym", reason="reasoning_gym is an optional package")


def entry(task: str, **config: object) -> dict[str, object]:
    made = create(task, {"size": 1, "seed": 3, **config})[0]
    return {**made, "metadata": encode(made["metadata"])}


def test_scores_are_the_tasks_own() -> None:
    score = start("chain_sum", {})
    asked = entry("chain_sum")
    assert score({"answer": asked["answer"], "entry": asked}) == {"score": 1.0}
    assert score({"answer": "no number", "entry": asked})["score"] < 0.5


def test_tuples_in_the_metadata_arrive_as_tuples() -> None:
    asked = entry("arc_agi")
    assert start("arc_agi", {})({"answer": asked["answer"], "entry": asked}) == {"score": 1.0}


def test_an_answer_that_the_task_cannot_read_says_so() -> None:
    asked = entry("prime_factorization")
    reply = start("prime_factorization", {})({"answer": "foo", "entry": asked})
    assert "ValueError" in reply["unreadable"]


def test_metadata_that_is_broken_raises() -> None:
    asked = {**entry("chain_sum"), "metadata": "no json"}
    with pytest.raises(ValueError, match="Expecting value"):
        start("chain_sum", {})({"answer": "1", "entry": asked})


def test_settings_reach_the_task_or_are_refused() -> None:
    with pytest.raises(UserError, match="Its settings are"):
        start("chain_sum", {"min_term": 3})
