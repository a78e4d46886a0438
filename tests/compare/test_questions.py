import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr.compare.questions import CHARACTERS, changed_questions, selected
from rlvr.compare.runs import RunRow


def row(index, number, extracted, completion, right):
    return {
        "id": f"id{number}",
        "question": "Q",
        "gold": "7",
        "correct": right,
        "reward": [float(r) for r in right],
        "extracted": extracted,
        "completion": completion,
    }


@pytest.fixture
def run(tmp_path):
    """A run of which each question is (base, trained), each a list of samples that are right."""

    def make(pairs, index=0, base="It is 9.", trained="It is 7.", read=("9", "7")):
        folder = tmp_path / str(index) / "evaluations"
        folder.mkdir(parents=True)
        for place, name in enumerate(("base", "trained")):
            text = (base, trained)[place]
            rows = [
                row(index, i, [read[place]] * len(pair[place]), [text] * len(pair[place]), right)
                for i, pair in enumerate(pairs)
                for right in [pair[place]]
            ]
            lines = "".join(json.dumps(r) + "\n" for r in rows)
            (folder / f"{name}.jsonl").write_text(lines)
        return RunRow(index, f"run{index}", folder.parent, "finished")

    return make


def test_counts_and_gains_are_of_shares_of_samples(run):
    made = run([([True, False], [True, True]), ([True, True], [True, False]), ([False], [False])])
    questions, counts = changed_questions([made])
    assert counts == {0: {"gained": 1, "lost": 1, "right": 0, "wrong": 1}}
    assert {q.id: q.changes[0].gain for q in questions} == {"id0": 0.5, "id1": -0.5}


def test_questions_the_verifier_failed_on_are_left_out(run):
    made = run([([False], [True]), ([False], [True])])
    file = made.directory / "evaluations" / "base.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[0]["reward"] = [None]
    file.write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert changed_questions([made])[1] == {0: {"gained": 1, "lost": 0, "right": 0, "wrong": 0}}


@pytest.mark.parametrize(
    ("text", "read", "parts"),
    [
        ("3 + 4 = 7. It is 7!", "7", ("3 + 4 = 7. It is ", "7", "!")),
        ("It is seven.", "7", ("It is seven.", "", "")),
        ("It is seven.", None, ("It is seven.", "", "")),
    ],
)
def test_the_last_mention_of_what_was_read_is_marked(run, text, read, parts):
    (question,), _ = changed_questions([run([([False], [True])], trained=text, read=("9", read))])
    answer = question.changes[0].trained
    assert (answer.before, answer.answer, answer.after) == parts
    assert answer.read == read


def test_of_a_long_completion_the_part_before_the_answer_is_kept(run):
    text = "x" * 5000 + " so it is 7." + "y" * 5000
    (question,), _ = changed_questions([run([([False], [True])], trained=text)])
    answer = question.changes[0].trained
    assert answer.before.endswith("so it is ")
    assert len(answer.before) + len(answer.after) < 2 * CHARACTERS


@given(st.integers(0, 60_000))
def test_a_selection_keeps_to_its_size_and_order(size):
    questions = [
        made for i in range(40) for made in [_question(i, gains=[1.0] if i % 2 else [-1.0, 1.0])]
    ]
    chosen = selected(questions, size)
    assert sum(q.size() for q in chosen) <= size
    assert chosen == [q for q in questions if q in chosen]


def test_each_run_and_kind_has_its_turn():
    questions = [_question(i, gains=[1.0]) for i in range(20)] + [_question(20, gains=[-1.0])]
    chosen = selected(questions, 5 * questions[0].size())
    assert {c.kind for q in chosen for c in q.changes} == {"gained", "lost"}


def _question(number, gains):
    from rlvr.compare.questions import Answer, Change, Question

    answer = Answer("It is ", "7", ".", "7")
    changes = [Change(run, gain, answer, answer) for run, gain in enumerate(gains)]
    return Question(f"id{number:02}", "Q", "7", changes)
