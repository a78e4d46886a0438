import json
import re
from pathlib import Path

import pytest

from rlvr.data.exemplars import exemplars_path, load_exemplars
from rlvr.data.prompts import Exemplar
from rlvr.errors import UserError

GSM8K = Path(__file__).parents[3] / "shared/data/gsm8k"
# Each answer of rlvr/data/exemplars/gsm8k.jsonl, computed from the question's numbers.
ANSWERS = [
    100 - (2 * 14 + 5 * 14 // 2),
    (1140 - 240) // (18 - 3),
    (96 - 96 * 3 // 8) // 4,
    250 * 80 // 100 * 90 // 100,
    (40 - 2 * 6 - 4) // 2 + 4,
    45 * 6 + 80 * 4 - 15,
    (54 - 6) // 4 + 6,
    150 * 60 // 60 + 90 + 150 * 60 // 50,
]
STEP = re.compile(r"(\d+(?: [-+*/] \d+(?:\.\d+)?|\.\d+)+) = (\d+(?:\.\d+)?)")


def words(text: str) -> set[tuple[str, ...]]:
    """Runs of three words."""
    tokens = re.findall(r"\w+", text.lower())
    return set(zip(tokens, tokens[1:], tokens[2:], strict=False))


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def row(**changes: object) -> dict[str, object]:
    return {"question": "One and one?", "solution": "1 + 1 = 2.", "answer": "2"} | changes


def test_gsm8k_answers_are_right() -> None:
    exemplars = load_exemplars("package:gsm8k", 8)
    assert [int(e.answer) for e in exemplars] == ANSWERS


def test_gsm8k_solutions_calculate_right_and_end_in_the_answer() -> None:
    for exemplar in load_exemplars("package:gsm8k", 8):
        steps = STEP.findall(exemplar.solution)
        assert len(steps) >= 2
        for expression, result in steps:
            assert eval(expression) == float(result), expression
        assert re.findall(r"\d+", exemplar.solution)[-1] == exemplar.answer
        assert 2 <= exemplar.solution.count(". ") + 1 <= 4


@pytest.mark.skipif(not GSM8K.is_dir(), reason=f"the real GSM8K is not at {GSM8K}")
def test_gsm8k_exemplars_are_nobodys_question() -> None:
    files = [GSM8K / "train.jsonl", GSM8K / "test.jsonl"]
    lines = [line for file in files for line in file.read_text().splitlines()]
    real = [words(json.loads(line)["question"]) for line in lines]
    for exemplar in load_exemplars("package:gsm8k", 8):
        own = words(exemplar.question)
        assert max(len(own & other) / len(own | other) for other in real) < 0.2


@pytest.mark.parametrize("name", ["gsm8k", "word_problems"])
def test_packaged_files_hold_eight_in_file_order(name: str) -> None:
    everything = load_exemplars(f"package:{name}", 8)
    assert len(everything) == 8
    assert load_exemplars(f"package:{name}", 3) == everything[:3]
    assert load_exemplars(f"package:{name}", 0) == []


def test_users_file(tmp_path: Path) -> None:
    spec = write(tmp_path / "mine.jsonl", row(answer=2, note="extra"), row(question="Two?"))
    assert exemplars_path(spec) == tmp_path / "mine.jsonl"
    assert load_exemplars(spec, 1) == [Exemplar("One and one?", "1 + 1 = 2.", "2")]


def test_more_shots_than_exemplars(tmp_path: Path) -> None:
    spec = write(tmp_path / "mine.jsonl", row())
    with pytest.raises(
        UserError, match=r"shots=4: .*mine.jsonl has 1 exemplars.*shots=1.*dataset.ex"
    ):
        load_exemplars(spec, 4)


def test_missing_file_names_the_packaged_ones() -> None:
    with pytest.raises(UserError, match=r"package:gsm9k: there is no file .*package:gsm8k"):
        load_exemplars("package:gsm9k", 1)


@pytest.mark.parametrize("bad", [row(answer=None), row(solution=" "), row(question=3), {"a": 1}])
def test_bad_row_is_named_even_when_it_is_not_used(tmp_path: Path, bad: dict[str, object]) -> None:
    spec = write(tmp_path / "mine.jsonl", row(), row(), bad)
    with pytest.raises(UserError, match=r"mine.jsonl:3: "):
        load_exemplars(spec, 1)
