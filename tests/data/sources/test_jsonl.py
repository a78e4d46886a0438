import gzip
import json
from pathlib import Path

import pytest

from rlvr.data.rows import ROW_KEY
from rlvr.data.sources.jsonl import load
from rlvr.errors import UserError


def rows(count: int, start: int = 0) -> list[dict[str, object]]:
    return [
        {"question": f"Q{n}?", "answer": n, "level": n % 3} for n in range(start, start + count)
    ]


def write(path: Path, lines: list[object]) -> str:
    """One line per entry: text as it stands, anything else as JSON."""
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    return str(path)


def with_row_17(tmp_path: Path, bad: object) -> str:
    return write(tmp_path / "data.jsonl", [*rows(16), bad, *rows(10, 17)])


def test_one_file_is_split_by_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl", rows(50))
    splits = load(path=path, seed=1)
    assert (len(splits["train"]), len(splits["test"])) == (45, 5)
    both = splits["train"] + splits["test"]
    assert sorted(r["gold"] for r in both) == list(range(50))
    assert all(
        r[ROW_KEY] == f"{path}:{r['gold'] + 1}" and r["level"] == r["gold"] % 3 for r in both
    )
    assert load(path=path, seed=1) == splits
    assert load(path=path, seed=2)["test"] != splits["test"]


@pytest.mark.parametrize(("fraction", "test_rows"), [(0.001, 1), (0.5, 5), (0.999, 9)])
def test_no_side_of_the_split_is_empty(tmp_path: Path, fraction: float, test_rows: int) -> None:
    path = write(tmp_path / "data.jsonl", rows(10))
    assert len(load(path=path, seed=1, test_fraction=fraction)["test"]) == test_rows


def test_directory(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", rows(3))
    write(tmp_path / "test.jsonl", rows(2, 3))
    assert load(path=str(tmp_path), seed=1).keys() == {"train", "test"}
    with gzip.open(tmp_path / "validation.jsonl.gz", "wt") as file:
        file.write(json.dumps(rows(1, 5)[0]))
    splits = load(path=str(tmp_path), seed=1)
    assert {k: [r["gold"] for r in v] for k, v in splits.items()} == {
        "train": [0, 1, 2],
        "test": [3, 4],
        "validation": [5],
    }


def test_other_column_names(tmp_path: Path) -> None:
    """`prompt` is taken by the trainer, but not as the name of the question's column."""
    path = write(tmp_path / "d.jsonl", [{"prompt": "One?", "y": "1"}, {"prompt": "Two?", "y": "2"}])
    splits = load(path=path, seed=1, question="prompt", answer="y")
    found = splits["train"] + splits["test"]
    assert {r["question"]: r["gold"] for r in found} == {"One?": "1", "Two?": "2"}
    assert all(r.keys() == {ROW_KEY, "question", "gold"} for r in found)


def test_byte_order_mark_blank_lines_and_windows_line_ends(tmp_path: Path) -> None:
    text = '\ufeff{"question": "ä", "answer": 1}\r\n\r\n{"question": "b", "answer": 2}\r\n'
    (tmp_path / "d.jsonl").write_bytes(text.encode())
    splits = load(path=str(tmp_path / "d.jsonl"), seed=1)
    found = {r["question"]: r[ROW_KEY].rpartition(":")[2] for r in splits["train"] + splits["test"]}
    assert found == {"ä": "1", "b": "3"}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"question": "broken', r"not valid JSON .*one JSON object per line.*truncated"),
        ("[1, 2]", r"expected one JSON object per line, got a list"),
        ({"answer": 1}, r"there is no column 'question' \(the row has answer\).*loader.question="),
        (
            {"question": "Q?"},
            r"there is no column 'answer' \(the row has question\).*loader.answer=",
        ),
        ({"question": "Q?", "answer": None}, r"column 'answer' holds null; expected text or a num"),
        (
            {"question": "Q?", "answer": [1]},
            r"column 'answer' holds a list; expected text or a num",
        ),
        ({"question": "Q?", "answer": {}}, r"column 'answer' holds an object"),
        ({"question": "Q?", "answer": True}, r"column 'answer' holds a boolean"),
        ({"question": 5, "answer": 1}, r"column 'question' holds a number; expected text"),
        (
            {"question": "Q?", "answer": 1, "prompt": "x"},
            r"the column name 'prompt' is taken.*rename",
        ),
        ("[" * 100_000, r"not valid JSON"),
    ],
)
def test_a_bad_row_17_is_named(tmp_path: Path, bad: object, message: str) -> None:
    with pytest.raises(UserError, match=rf"data\.jsonl:17: {message}"):
        load(path=with_row_17(tmp_path, bad), seed=1)


def test_undecodable_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(b'{"question": "a", "answer": 1}\n{"question": "\xff"}\n')
    with pytest.raises(UserError, match=r"d\.jsonl:2: not valid JSON"):
        load(path=str(tmp_path / "d.jsonl"), seed=1)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"nothing\.jsonl: there is no such file; mend dataset\.path"
    ):
        load(path=str(tmp_path / "nothing.jsonl"), seed=1)


def test_no_path() -> None:
    with pytest.raises(UserError, match=r"dataset\.path is not set: name a JSONL file"):
        load(path=None, seed=1)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_empty_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "d.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"d\.jsonl: the file is empty"):
        load(path=str(tmp_path / "d.jsonl"), seed=1)


def test_directory_without_train_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no train\.jsonl \(it holds nothing\)"):
        load(path=str(tmp_path), seed=1)
    write(tmp_path / "training.jsonl", rows(1))
    (tmp_path / "old").mkdir()
    with pytest.raises(UserError, match=r"no train\.jsonl \(it holds old/, training\.jsonl\)"):
        load(path=str(tmp_path), seed=1)


def test_directory_without_test(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", rows(1))
    with pytest.raises(UserError, match=r"has no test\.jsonl .*for one file that is to be split"):
        load(path=str(tmp_path), seed=1)


def test_truncated_gzip(tmp_path: Path) -> None:
    packed = gzip.compress("\n".join(json.dumps(r) for r in rows(500)).encode())
    (tmp_path / "d.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UserError, match=r"d\.jsonl\.gz: cannot be read: "):
        load(path=str(tmp_path / "d.jsonl.gz"), seed=1)


def test_one_row_cannot_be_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one row cannot be split"):
        load(path=write(tmp_path / "d.jsonl", rows(1)), seed=1)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 5])
def test_bad_fraction(tmp_path: Path, fraction: float) -> None:
    with pytest.raises(UserError, match=r"dataset\.loader\.test_fraction="):
        load(path=write(tmp_path / "d.jsonl", rows(5)), seed=1, test_fraction=fraction)
