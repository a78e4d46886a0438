"""A gain that one rule makes up is in the table, in the files and on the page."""

import io
import json

import pytest
from rich.console import Console

from rlvr.compare import compare, page
from rlvr.compare.comparison import read_sweep
from rlvr.compare.protocols import protocols

WARNING = "the gain of 20.0 points under reference_post is not there under the default rule (+0.0)"

OTHER_FORM = "it takes the number behind '####'"


def of(base, trained, **more):
    scores = {
        phase: {"accuracy": x, "low": x - 0.05, "high": x + 0.05, "n": 200, "correct": 200 * x}
        for phase, x in (("base", base), ("trained", trained))
    }
    return {"other_form": None, "warning": None, **scores, **more}


@pytest.fixture
def sweep(make_sweep):
    directory = make_sweep(
        [("shots=2", {"base": 0.3, "trained": 0.3}), ("shots=4", {"base": 0.3, "trained": 0.6})]
    )
    rules = [
        {
            "lm_eval_gsm8k.strict-match": of(
                0.0, 0.0, other_form="it takes the number behind '####'"
            ),
            "reference_post": of(0.1, 0.3, warning=WARNING),
        },
        {
            "lm_eval_gsm8k.strict-match": of(
                0.0, 0.0, other_form="it takes the number behind '####'"
            ),
            "reference_post": of(0.1, 0.4),
        },
    ]
    for index, found in enumerate(rules):
        file = directory / str(index) / "result.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "protocols": found}))
    return directory


def printed(directory):
    console = Console(width=80, file=io.StringIO(), record=True)
    compare.report(directory, console)
    return console.export_text()


def test_the_table_shows_each_rule_and_the_warning(sweep):
    text = printed(sweep)
    below = text.partition("Under other rules")[2]
    (line,) = [x for x in below.splitlines() if x.split()[:1] == ["0"]]
    assert "30.0 (+0.0)" in line
    assert "30.0 (+20.0)" in line
    assert "0.0 (+0.0)*" in line
    whole = " ".join(below.split())
    assert f"*: lm_eval_gsm8k.strict-match looks for answers of another form: {OTHER_FORM}" in whole
    assert f"WARNING: run 0 (shots=2): {WARNING}" in whole
    assert whole.count("WARNING") == 1
    assert "…" not in below, "nothing is cut at 80 columns"


def test_the_files_hold_it(sweep):
    printed(sweep)
    found = json.loads((sweep / "comparison.json").read_text())
    assert found["warnings"] == [f"run 0 (shots=2): {WARNING}"]
    (fake,) = [r for r in found["protocols"] if (r["recipe"], r["rule"]) == (0, "reference_post")]
    assert (fake["base"]["accuracy"], fake["trained"]["accuracy"]) == (0.1, 0.3)
    assert f"- **warning**: run 0 (shots=2): {WARNING}" in (sweep / "comparison.md").read_text()


def test_the_page_has_a_section(sweep):
    html = page.render(read_sweep(sweep))
    section = html.partition('id="rules"')[2].partition("</section>")[0]
    assert f"run 0 (shots=2): {WARNING}" in section
    assert '<td class="n">+20.0</td>' in section
    assert '<td class="n">+0.0*</td>' in section


def test_seeds_are_one_line(make_sweep):
    directory = make_sweep(
        [(f"shots=2 seed={seed}", {"base": 0.3, "trained": 0.3}) for seed in (1, 2)]
    )
    for index in range(2):
        file = directory / str(index) / "result.json"
        found = {"reference_post": of(0.1, 0.3 + 0.1 * index)}
        file.write_text(json.dumps({**json.loads(file.read_text()), "protocols": found}))
    rules = protocols(read_sweep(directory))
    (line,) = rules.lines
    assert rules.cell(line, "reference_post") == "35.0 (+25.0)"


def test_without_other_rules_there_is_no_table(make_sweep, grid):
    directory = make_sweep(grid)
    assert protocols(read_sweep(directory)) is None
    assert "other rules" not in printed(directory)
    assert 'id="rules"' not in page.render(read_sweep(directory))
