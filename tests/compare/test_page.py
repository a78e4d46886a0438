import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from rlvr.cli import main
from rlvr.compare import page
from rlvr.compare.comparison import read_sweep
from rlvr.errors import UserError
from rlvr.manifest import Tracking

ATTACK = "document.title='pwned'"
HOSTILE = f'</script><script>{ATTACK}</script><img src=x onerror="{ATTACK}">\u202e\x00\ud800'
VOID = {"meta", "link", "input", "img", "br"}


class Page(HTMLParser):
    """Elements, that they are closed in order, and text by element id or tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.scripts = [], [], [], [], []
        self.headings: list[int] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)


def answers(run: Path, name: str, right: list[bool], text: str = "It is {}.", key: str = "id{}"):
    folder = run / "evaluations"
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "id": key.format(i),
            "question": f"Question {i}? {text}",
            "gold": "7",
            "correct": [correct],
            "reward": [float(correct)],
            "extracted": ["7" if correct else "9"],
            "completion": [text.replace("{}", "7" if correct else "9")],
        }
        for i, correct in enumerate(right)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / f"{name}.jsonl").write_text(lines)


def curve(run: Path, steps: int = 10):
    lines = [{"step": i, "reward/total": i / steps, "train/entropy": 0.5} for i in range(steps)]
    lines.append({"step": steps, "reward/total": float("nan")})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def sweep(make_sweep, grid):
    directory = make_sweep(grid)
    for number in range(4):
        answers(directory / str(number), "base", [True, False, True, False] * 10)
        answers(directory / str(number), "trained", [True, True, number < 2, False] * 10)
        curve(directory / str(number))
    warning = "[WARNING] health, steps 3 to 7: 40% of the completions <b>are</b> equal\n"
    (directory / "1" / "train.log").write_text(f"loading\n{warning}")
    return directory


def data(text: str) -> dict:
    return json.loads(Page(text).scripts[0])


def test_the_command_writes_the_page_beside_the_manifest(sweep, capsys):
    assert main(["report", str(sweep)]) == 0
    assert capsys.readouterr().out == f"report: {sweep / 'report.html'}\n"
    assert "Best is run 0 (shots=2, lr=2e-4): 87.0 %" in (sweep / "report.html").read_text()


def test_the_page_can_be_moved_through_and_loads_nothing(sweep):
    text = page.render(read_sweep(sweep))
    found = Page(text)
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in found.tags}
    assert found.headings[0] == 1
    assert all(b - a <= 1 for a, b in zip(found.headings, found.headings[1:], strict=False))
    assert len(found.ids) == len(set(found.ids))
    anchors = [link for link in found.links if link != "data:,"]
    assert anchors
    assert all(link.startswith("#") and link[1:] in found.ids for link in anchors)
    assert not [a for _, a in found.tags if "src" in a]
    tables = [tag for tag, _ in found.tags if tag in ("table", "caption")]
    assert tables.count("table") == tables.count("caption") >= 3
    assert all("scope" in a for tag, a in found.tags if tag == "th")
    assert str(sweep) not in text


def test_the_page_tells_what_the_files_say(sweep):
    text = page.render(read_sweep(sweep))
    told = data(text)
    assert told["best"] == 0
    assert [run["trained_accuracy"] for run in told["runs"]] == [0.87, 0.03, 0.71, 0.02]
    assert told["question_counts"]["3"] == {"gained": 10, "lost": 10, "right": 10, "wrong": 10}
    assert told["warnings"] == [
        {"run": 1, "steps": "steps 3 to 7", "text": "40% of the completions <b>are</b> equal"}
    ]
    assert told["curves"]["reward"]["0"][3] == [3, 0.3]
    assert "<mark>9</mark>" in text
    assert "python train.py" in text


def test_without_a_log_the_metrics_say_when_a_run_warned(sweep):
    counts = [0, 0, 1, 1, 3, 3]
    lines = [{"step": i + 1, "health/warnings": count} for i, count in enumerate(counts)]
    (sweep / "2" / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    told = data(page.render(read_sweep(sweep)))["warnings"]
    assert [w["steps"] for w in told if w["run"] == 2] == ["step 3", "step 5"]


def test_questions_on_which_runs_disagree_come_first(sweep):
    answers(sweep / "0", "trained", [False, True, True, True] + [True, False] * 18)
    answers(sweep / "1", "trained", [False, True, True, False] + [True, False] * 18)
    answers(sweep / "2", "base", [False, False, True, True] + [True, False] * 18)
    answers(sweep / "2", "trained", [True, True, True, False] + [True, False] * 18)
    first = data(page.render(read_sweep(sweep)))["questions"][0]
    assert (first["id"], first["gained"], first["lost"]) == ("id0", [2], [0, 1])


def test_heat_map_and_matrix(sweep):
    cell = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 40}
    cells = [{"run": "0", "train_shots": 2, "eval_shots": n, "score": cell} for n in (0, 8)]
    (sweep / "evaluations.json").write_text(json.dumps(cells))
    text = page.render(read_sweep(sweep))
    assert "Learning rate × shots" in text
    assert [(e["run"], e["eval_shots"]) for e in data(text)["evaluations"]] == [
        ("base", 8),
        ("0", 0),
        ("0", 8),
    ]


@pytest.mark.parametrize(
    "file", ["evaluations.json", "0/evaluations/base.jsonl", "0/metrics.jsonl"]
)
def test_a_file_that_cannot_be_read_is_named(sweep, file):
    (sweep / file).write_text('[{"run": 1}')
    with pytest.raises(UserError, match=re.escape(file)):
        page.render(read_sweep(sweep))


@pytest.mark.parametrize("state", ["pending", "failed", "running"])
def test_a_sweep_without_results_has_a_page(make_sweep, state):
    text = page.render(read_sweep(make_sweep([("shots=2", {"state": state, "base": None})])))
    assert "No run has finished yet" in text
    Page(text)


def hostile_sweep(make_sweep, runs: int, questions: int, text: str) -> Path:
    jobs = [(f"shots={i % 4} seed={i}", {"error": None}) for i in range(runs)]
    directory = make_sweep(jobs, name="hostile")
    for number in range(runs):
        run = directory / str(number)
        answers(run, "base", [i % 3 == 0 for i in range(questions)], text, "id<{}>\"'")
        right = [(i + number) % 2 == 0 for i in range(questions)]
        answers(run, "trained", right, text, "id<{}>\"'")
        curve(run, 500)
        (run / "train.log").write_text(f"health, steps 1 to 2: {text}\n", errors="replace")
    return directory


def test_completions_cannot_leave_their_place(make_sweep):
    directory = hostile_sweep(make_sweep, 2, 12, HOSTILE + " {}")
    text = page.report(directory).read_text(encoding="utf-8")
    found = Page(text)
    assert [tag for tag, _ in found.tags].count("script") == 2
    assert "img" not in {tag for tag, _ in found.tags}
    assert "<" not in found.scripts[0]
    assert "</script><script>" in data(text)["questions"][0]["question"]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["<" * 2000 + "{}", "\U0001f600" * 2000 + "{}", "word {}"])
def test_the_page_stays_below_500_kb(make_sweep, text):
    directory = hostile_sweep(make_sweep, 24, 200, text)
    size = page.report(directory).stat().st_size
    assert 100_000 < size < 500_000


def test_many_runs_are_limited_and_the_best_are_kept(make_sweep):
    rows = [(f"seed={i}", {"trained": i / 300}) for i in range(300)]
    text = page.render(read_sweep(make_sweep(rows)))
    assert len(text.encode()) < 500_000
    assert {run["run"] for run in data(text)["runs"]} == set(range(150, 300))
    assert "The 150 best of 300 runs" in text


def test_24_runs_have_every_section_in_half_a_megabyte(example):
    found = Page(page.report(example).read_text(encoding="utf-8"))
    assert (example / "report.html").stat().st_size < 500_000
    sections = {
        a["aria-labelledby"] for tag, a in found.tags if tag == "section" and len(a) == 1
    } - {None}
    assert {"runs", "shots", "heat", "spent", "matrix", "curves", "health", "benchmarks",
            "questions", "repeat"} <= sections  # fmt: skip
    assert len(found.ids) == len(set(found.ids))
    charts = [a["aria-label"] for tag, a in found.tags if tag == "svg" and "aria-label" in a]
    assert len([name for name in charts if name.startswith("reward, ")]) == 4
    assert all("step" in name for name in charts if name.startswith("reward, "))


def test_what_a_point_took_is_of_the_best_run_too(example):
    told = data(page.render(read_sweep(example)))
    (best,) = [found for found in told["spent"] if found["recipe"] == told["best"]]
    middle, low, high = best["seconds_a_point"]
    assert middle == pytest.approx(best["seconds"] / best["points"], rel=1e-3)
    assert low < middle < high
    assert best["cost_a_point"][0] == pytest.approx(0.35 / best["points"], rel=1e-3)
    assert [s["cost_a_point"] for s in told["spent"] if s["points"] <= 0] == [None] * 4


def test_how_many_questions_are_left_out_is_said(make_sweep):
    directory = hostile_sweep(make_sweep, 24, 200, "word " * 300 + "{}")
    text = page.render(read_sweep(directory))
    shown = len(data(text)["questions"])
    assert 10 < shown < 200
    assert f"{shown} of the 200 questions that changed" in text


def test_a_question_that_the_data_has_twice_is_two(sweep):
    for phase, right in (("base", [False, False]), ("trained", [True, True])):
        answers(sweep / "0", phase, right, key="same")
    found = data(page.render(read_sweep(sweep)))
    assert found["question_counts"]["0"]["gained"] == 2
    assert {"same", "same-2"} <= {question["id"] for question in found["questions"]}


def test_the_page_is_an_artifact_of_the_parent_run(make_sweep, grid, mlflow_uri):
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_uri)
    run = client.create_run("0").info.run_id
    directory = make_sweep(grid, tracking=Tracking(mlflow_uri, "0", run))
    page.report(directory)
    assert [file.path for file in client.list_artifacts(run)] == ["report.html"]


def luminance(colour: str) -> float:
    """Of `#rgb` or `#rrggbb`, as WCAG 2.2 defines it."""
    digits = "".join(c * 2 for c in colour[1:]) if len(colour) == 4 else colour[1:]
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_can_be_read_in_light_and_dark(sweep, scheme):
    text = page.render(read_sweep(sweep))
    block = re.findall(r":root\{(color-scheme:[^}]*)\}", text)[scheme]
    colours = dict(re.findall(r"--([\w-]+):(#\w+)", block))
    pairs = [(name, on) for name in ("fg", "soft", "link", "good", "bad") for on in ("bg", "panel")]
    pairs += [(f"s{i}", "bg") for i in range(7)] + [("base", "bg"), ("on-mark", "mark")]
    for name, on in pairs:
        dark, light = sorted(luminance(colours[key]) for key in (name, on))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, f"--{name} on --{on}"


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
class TestInBrowser:
    def open(self, file: Path, *options: str) -> str:
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu"]
        profile = f"--user-data-dir={file.parent / 'profile'}"
        return subprocess.run(
            [*command, profile, "--allow-file-access-from-files", *options, file.as_uri()],
            capture_output=True, text=True, timeout=100, check=True,
        ).stdout  # fmt: skip

    def dom(self, file: Path, *options: str) -> str:
        return self.open(file, "--dump-dom", *options)

    def title_after(self, directory: Path, script: str, *options: str) -> str:
        """What `script` makes the title of the directory's page."""
        text, tried = page.render(read_sweep(directory)), directory / "tried.html"
        tried.write_text(text.replace("</body>", f"<script>{script}</script></body>"))
        return re.findall("<title>(.*)</title>", self.dom(tried, *options))[0]

    def test_nothing_hostile_runs_and_the_search_does(self, make_sweep):
        text = self.dom(page.report(hostile_sweep(make_sweep, 2, 12, HOSTILE + " {}")))
        assert "pwned</title>" not in text
        assert re.search(r">(\d+) of \1 shown<", text)

    def test_search_filter_and_data(self, sweep):
        script = """
            const find = document.getElementById("find"), kind = document.getElementById("kind");
            const type = (box, text) => {
              box.value = text;
              box.dispatchEvent(new Event("input", {bubbles: true}));
            };
            const told = [JSON.parse(document.getElementById("data").textContent).best];
            type(find, "question 1?"); told.push(hits.textContent);
            type(find, ""); type(kind, "lost"); told.push(hits.textContent);
            document.title = told.join("; ");
        """
        assert self.title_after(sweep, script) == "0; 2 of 20 shown; 10 of 20 shown"

    def test_a_heading_sorts_its_table_by_number_and_time(self, example):
        script = """
            const table = document.querySelectorAll("table.sortable")[1];
            const heads = [...table.tHead.rows[0].cells], told = [];
            const sort = name => {
              const at = heads.findIndex(head => head.textContent.trim() === name);
              heads[at].querySelector("button").click();
              told.push([...table.tBodies[0].rows].map(row => row.cells[at].textContent).join("|"));
              told.push(heads.map(head => head.getAttribute("aria-sort") || "").join(""));
            };
            sort("points gained"); sort("time a point"); sort("time a point");
            document.title = told.join(";");
        """
        points, one, up, two, down, three = self.title_after(example, script).split(";")
        numbers = [float(number) for number in points.split("|")]
        assert numbers == sorted(numbers)
        assert (one, two, three) == ("ascending", "ascending", "descending")
        for order in (up, down):
            assert order.endswith("-|-|-|-")  # what has no number is last in both directions
        seconds = [
            60 * int(minutes or 0) + int(rest)
            for minutes, rest in re.findall(r"(?:^|\|)(?:(\d+)m )?(\d+)s", up)
        ]
        assert len(seconds) == 8
        assert seconds == sorted(seconds)
        assert down.split("|")[:8] == up.split("|")[7::-1]

    def test_headings_are_reached_by_keyboard(self, sweep):
        script = """
            const button = document.querySelector("table.sortable button");
            button.focus();
            document.title = [document.activeElement === button, button.tabIndex].join();
        """
        assert self.title_after(sweep, script) == "true,0"

    @pytest.mark.parametrize(("scheme", "background"), [(0, "20, 23, 26"), (1, "255, 255, 255")])
    def test_dark_and_light(self, sweep, scheme, background):
        script = "document.title = getComputedStyle(document.body).backgroundColor"
        flag = f"--blink-settings=preferredColorScheme={scheme}"
        assert self.title_after(sweep, script, flag) == f"rgb({background})"

    def test_it_prints_a_few_pages_without_the_controls(self, example):
        printed = example / "report.pdf"
        self.open(page.report(example), f"--print-to-pdf={printed}", "--no-pdf-header-footer")
        assert 5 < len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes())) < 30

    def test_a_phone_scrolls_one_way_only(self, example):
        page.report(example)
        frame = example / "frame.html"
        measure = "document.title = this.contentDocument.documentElement.scrollWidth"
        frame.write_text(
            f'<title></title><iframe src="report.html" width=390 onload="{measure}"></iframe>'
        )
        (width,) = re.findall(r"<title>(\d+)</title>", self.dom(frame))
        assert int(width) <= 390
