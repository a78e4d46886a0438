"""What data and verifier of reasoning_gym share."""

import pytest

from rlvr.errors import UserError
from rlvr.gym_tasks import create, decode, encode


def test_metadata_keeps_tuples() -> None:
    metadata = {"a": ((1, 2), [3, (4,)]), "b": {"c": None}, "d": "text"}
    assert decode(encode(metadata)) == metadata


def test_a_task_by_name_and_what_is_none() -> None:
    dataset = create("chain_sum", {"size": 2, "seed": 1})
    assert dataset.score_answer(dataset[0]["answer"], dataset[0]) == 1
    with pytest.raises(UserError, match=r"no such task; did you mean chain_sum"):
        create("chain_som", {})
