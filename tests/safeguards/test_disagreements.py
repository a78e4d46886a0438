"""Disagreements of reward and last number are kept, the worst of them, and a bounded number."""

import json
from dataclasses import replace

from rlvr.safeguards.disagreements import FILE, KEPT, Disagreements

PREFIX = "#### The final answer is"


def answer(value: object) -> str:
    return f" Some steps.\n{PREFIX} {value}"


def test_disagreements_are_kept_and_bounded(batch, tmp_path):
    table = Disagreements(tmp_path / FILE)
    for step in range(40):
        texts = [answer(100 + step), f"It is {step}"]
        asked = replace(batch(texts, [str(step)] * 2, paid=[1, 0]), questions=[f"q{step}"] * 2)
        table.add(asked, step)
    table.write()
    rows = [json.loads(line) for line in (tmp_path / FILE).read_text().splitlines()]
    assert len(rows) == 2 * KEPT
    wrong = [row for row in rows if row["disagreement"] == "paid, last number wrong"]
    assert [row["step"] for row in wrong] == list(range(39, 14, -1))
    assert wrong[0]["extracted"] == wrong[0]["last_number"] == "139"
    assert rows[-1]["disagreement"] == "right, not paid"


def test_agreement_is_not_kept(batch, tmp_path):
    table = Disagreements(tmp_path / FILE)
    table.add(batch([answer(1), answer(2), "1"], ["1", "1", "heads"], paid=[1, 0, 1]), 1)
    table.write()
    assert table.rows() == []
    assert not (tmp_path / FILE).exists()


def test_the_file_is_written_when_there_is_something_new(batch, tmp_path):
    table = Disagreements(tmp_path / FILE)
    table.add(batch([answer(2)], ["1"], paid=[1]), 1)
    table.write()
    (tmp_path / FILE).unlink()
    table.write()
    assert not (tmp_path / FILE).exists()
