import json
import re

import pytest

from rlvr.compare.answers import read_rows, read_shares
from rlvr.errors import UserError


def test_shares_are_of_samples_and_without_failures_of_the_verifier(answer, tmp_path):
    answer(tmp_path, "trained", [True, [True, False], None, [False, None]])
    assert read_shares(tmp_path, "trained") == {"id0": 1.0, "id1": 0.5}
    assert read_shares(tmp_path, "base") == {}


def test_a_benchmark_has_rows_of_its_own(answer, tmp_path):
    answer(tmp_path, "trained", [True])
    answer(tmp_path, "trained", [False], "svamp")
    assert read_shares(tmp_path, "trained", "svamp") == {"id0": 0.0}


def test_a_question_that_is_there_twice_is_two(answer, tmp_path):
    answer(tmp_path, "base", [True, False])
    file = tmp_path / "evaluations" / "base.jsonl"
    file.write_text(file.read_text().replace("id1", "id0"))
    assert read_shares(tmp_path, "base") == {"id0": 1.0, "id0-2": 0.0}


@pytest.mark.parametrize("text", ["{", "[1]", json.dumps({"question": "no id"})])
def test_a_file_that_is_something_else_is_named(tmp_path, text):
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations" / "base.jsonl").write_text(text)
    with pytest.raises(UserError, match=re.escape("evaluations/base.jsonl")):
        read_rows(tmp_path, "base")
