"""What the report tells of code, from rows as an evaluation of code leaves them."""

import csv
import io
import json
import re

import pytest

from rlvr.compare import page
from rlvr.compare.code import CHARACTERS, code_answer, code_lines, difference
from rlvr.compare.comparison import read_sweep
from rlvr.compare.questions import changed_questions
from rlvr.compare.records import as_csv
from rlvr.compare.table import columns, rich_table
from rlvr.result import Result, read

HOSTILE = "</pre><script>document.title='pwned'</script>"
TASK = "Write f(x) that returns x squared.\nIt must pass:\nassert f(2) == 4"
FAILURE = {"test": "assert f(3) == 9", "given": "f(3)", "expected": "9", "got": "6"}
WRONG = {
    "outcome": "wrong",
    "code": f"def f(x):\n    y = x  # {HOSTILE}\n    return 2 * y",
    "shown": [1, 1],
    "hidden": [0, 2],
    "failure": FAILURE,
    "signs": ["special_cases"],
}
RIGHT = {
    "outcome": "passed",
    "code": f"def f(x):\n    y = x  # {HOSTILE}\n    return y * y",
    "shown": [1, 1],
    "hidden": [2, 2],
    "failure": None,
    "signs": [],
}


def row(number, ran):
    right = ran["outcome"] == "passed"
    return {
        "id": f"id{number}",
        "question": TASK,
        "gold": "def f(x): return x ** 2",
        "correct": [right],
        "reward": [float(right)],
        "extracted": [None if right else "assert f(3) == 9: it returned 6"],
        "completion": [ran["code"]],
        "execution": [ran],
    }


def write(run, phase, executions):
    folder = run / "evaluations"
    folder.mkdir(exist_ok=True)
    lines = [json.dumps(row(i, ran)) + "\n" for i, ran in enumerate(executions)]
    (folder / f"{phase}.jsonl").write_text("".join(lines))


@pytest.fixture
def sweep(make_sweep):
    directory = make_sweep([("shots=2", {}), ("shots=4", {})])
    for number in range(2):
        run = directory / str(number)
        write(run, "base", [WRONG, RIGHT, WRONG])
        write(run, "trained", [RIGHT, WRONG, WRONG])
        found = read(run)
        assert isinstance(found, Result)
        for score, wrong in ((found.base, 2), (found.trained, 1)):
            score |= {
                "outcomes": {"passed": 3 - wrong, "wrong": wrong},
                "gaming": {"special_cases": wrong},
                "tests_passed": {"all": 0.5, "shown": 0.9, "hidden": 0.31},
                "pass_at_k": {"1": 0.4, "10": 0.6},
                "pass_at_k_intervals": {"1": [0.3, 0.5], "10": [0.45, 0.75]},
            }
        found.write(run)
    return directory


def section(text: str, name: str) -> str:
    return text.split(f'<section aria-labelledby="{name}">')[1].split("</section>")[0]


def test_a_question_shows_both_codes_the_first_failing_test_and_the_difference(sweep):
    text = page.render(read_sweep(sweep))
    article = section(text, "questions").split("<article")[1].split("</article>")[0]
    assert "assert f(2) == 4" in article
    assert "def f(x): return x ** 2" in article
    for part, told in FAILURE.items():
        assert f"<dt>{part}</dt><dd><code>{told}</code></dd>" in article
    assert "wrong, 1 of 3 tests passed; signs of gaming: special cases" in article
    assert "passed, 3 of 3 tests passed" in article
    assert "<del>-    return 2 * y</del><ins>+    return y * y</ins>" in article
    assert "Read as the answer" not in article


def test_outcomes_and_pass_at_k_have_their_tables(sweep):
    text = page.render(read_sweep(sweep))
    code = section(text, "code")
    assert "passed 1, wrong 2" in code
    assert "special cases 2" in code
    assert ">90.0</td>" in code
    assert ">31.0</td>" in code
    assert re.search(r"k = 10</th>.*60.0 <span class=\"ci\">\[45.0, 75.0\]", text, re.DOTALL)
    assert {'href="#code"', 'href="#passes"'} <= set(re.findall(r'href="[^"]*"', text))
    told = json.loads(re.findall(r'id="data">(.*?)</script>', text)[0])
    assert told["code"][0]["outcomes"] == {"passed": 1, "wrong": 2}
    assert told["passes"][0]["intervals"]["10"] == [0.45, 0.75]
    assert told["questions"][0]["answers"][0]["base"]["failure"] == FAILURE


def test_code_cannot_leave_its_place(sweep):
    text = page.render(read_sweep(sweep))
    assert HOSTILE not in text
    assert text.count("<script") == 2


def test_runs_without_code_have_no_code(make_sweep):
    text = page.render(read_sweep(make_sweep([("shots=2", {}), ("shots=4", {})])))
    assert 'id="code"' not in text
    assert 'id="passes"' not in text


def test_benchmarks_of_code_have_lines_too(make_sweep):
    score = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 4, "outcomes": {"too_slow": 4},
             "gaming": {}, "tests_passed": {"all": 0.0}}  # fmt: skip
    directory = make_sweep([("shots=2", {"benchmarks": {"humaneval": {"base": score}}})])
    (line,) = code_lines(read_sweep(directory).rows)
    assert (line.benchmark, line.phase, line.outcomes) == ("humaneval", "before", {"too_slow": 4})


def test_the_table_has_the_largest_k(sweep):
    comparison = read_sweep(sweep)
    cells = {header: cell(comparison.recipes[0]) for header, cell in columns(comparison)}
    assert cells["pass@10 %"] == "60 → 60"


def test_the_table_of_a_narrow_terminal_leaves_it_out(sweep):
    assert "pass@10 %" not in rich_table(read_sweep(sweep), 200)[1]
    assert "pass@10 %" in rich_table(read_sweep(sweep), 30)[1]


def test_the_file_has_it_of_the_runs_that_have_it(sweep, make_run):
    make_run(sweep / "0", ["shots=2"], state="failed")
    rows = list(csv.DictReader(io.StringIO(as_csv(read_sweep(sweep)))))
    assert [row["trained_pass_at_10"] for row in rows] == ["", "0.6"]


@pytest.mark.parametrize(
    ("base", "trained", "lines"),
    [
        ("a\nb", "a\nc", ["@@ -1,2 +1,2 @@", " a", "-b", "+c"]),
        ("a", "a", []),
        ("a", "b", []),
        ("", "b", []),
    ],
)
def test_a_difference_is_of_lines_that_have_something_in_common(base, trained, lines):
    assert difference(base, trained) == lines


def test_long_code_is_cut(sweep):
    long = {**RIGHT, "code": "x = 1\n" * 1000}
    assert len(code_answer(long).code) <= CHARACTERS + 2
    assert sum(map(len, difference("y\n" + "x = 1\n" * 600, "x = 2\ny" * 600))) < 2 * CHARACTERS
    for number in range(2):
        write(sweep / str(number), "trained", [long, WRONG, WRONG])
    (first, *_), _ = changed_questions(read_sweep(sweep).rows)
    assert first.size() < 30_000
