"""Rows from JSON Lines: each with its place, and one clear message where one cannot be read."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.data.rows import RESERVED, contents, kind, read_jsonl
from rlvr.errors import UserError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ROWS = st.lists(
    st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT))
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rows")


@given(ROWS, st.booleans(), st.sampled_from([".jsonl", ".jsonl.gz"]))
def test_whatever_was_written_is_read(folder: Path, rows: list, ascii_only: bool, end: str) -> None:
    """Text may hold what `splitlines` takes for the end of a line, but JSON does not."""
    file = folder / f"data{end}"
    text = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows).encode()
    file.write_bytes(gzip.compress(text) if end.endswith(".gz") else text)
    found = list(read_jsonl(file))
    assert [row for _, row in found] == rows
    assert [where for where, _ in found] == [f"{file}:{n + 1}" for n in range(len(rows))]


def test_blank_lines_count_but_hold_no_row(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}')
    assert [(w.rpartition(":")[2], r) for w, r in read_jsonl(file)] == [
        ("1", {"a": 1}),
        ("4", {"a": 2}),
    ]


def test_rows_before_a_bad_one_are_given(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"a": 1}\n{"a": \n')
    rows = read_jsonl(file)
    assert next(rows)[1] == {"a": 1}
    with pytest.raises(UserError, match=r"data\.jsonl:2: not valid JSON .*truncated"):
        next(rows)


@pytest.mark.parametrize(
    ("line", "said"), [("[1]", "a list"), ('"a"', "text"), ("3", "a number"), ("null", "null")]
)
def test_what_is_no_object_is_called_by_its_name(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "data.jsonl").write_text(line)
    with pytest.raises(UserError, match=rf":1: expected one JSON object per line, got {said}\."):
        list(read_jsonl(tmp_path / "data.jsonl"))


def test_a_file_that_is_not_there_or_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.jsonl: there is no such file; mend dataset\.path"):
        list(read_jsonl(tmp_path / "no.jsonl"))
    with pytest.raises(UserError, match=r"cannot be read: .*directory"):
        list(read_jsonl(tmp_path))


LINES = "".join(f'{{"n": {n}, "x": {n * 7919}}}\n' for n in range(2000))
ARCHIVE = gzip.compress(LINES.encode(), mtime=0)


@pytest.mark.parametrize("place", range(0, len(ARCHIVE), len(ARCHIVE) // 20))
def test_a_damaged_archive_is_named(tmp_path: Path, place: int) -> None:
    """A byte changed in its header, its data or its checksum, and all after it cut off."""
    file = tmp_path / "data.jsonl.gz"
    for damaged in (
        ARCHIVE[:place] + bytes([ARCHIVE[place] ^ 255]) + ARCHIVE[place + 1 :],
        ARCHIVE[: place + 1],
    ):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"data\.jsonl\.gz(: cannot be read|:\d+: not valid)"):
            list(read_jsonl(file))


def test_contents_names_folders_and_breaks_off(tmp_path: Path) -> None:
    assert contents(tmp_path) == "nothing"
    (tmp_path / "sub").mkdir()
    for name in "abc":
        (tmp_path / name).touch()
    assert contents(tmp_path) == "a, b, c, sub/"
    for number in range(10):
        (tmp_path / f"file{number}").touch()
    assert contents(tmp_path).count(", ") == 8
    assert contents(tmp_path).endswith(", ...")


KINDS = [({}, "an object"), ([], "a list"), ("", "text"), (None, "null"), (1.5, "a number")]


@pytest.mark.parametrize(("value", "said"), [*KINDS, (True, "a boolean"), (1, "a number")])
def test_kind(value: object, said: str) -> None:
    assert kind(value) == said


def test_what_trl_hands_to_every_reward_cannot_be_a_column() -> None:
    handed = "prompts completions completion_ids trainer_state log_extra log_metric".split()
    assert RESERVED.issuperset(handed)
