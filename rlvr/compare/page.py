"""`rlvr report`: a sweep as one HTML page that can be mailed, read offline and printed."""

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlvr import manifest
from rlvr.compare import code, curves, matrix, questions, study, svg, table
from rlvr.compare.comparison import Comparison, read_sweep
from rlvr.compare.logs import health_warnings
from rlvr.compare.protocols import protocols
from rlvr.compare.records import run_records
from rlvr.compare.runs import RunRow
from rlvr.compare.spent import Spent, spent
from rlvr.compare.verdict import verdict
from rlvr.errors import UserError
from rlvr.formatting import duration, number, p_value, percent
from rlvr.result import write_atomic

if TYPE_CHECKING:
    from jinja2 import Environment

FILE = "report.html"
LIMIT = 490_000  # bytes of the page
QUESTIONS = 250_000  # bytes of it for questions, at most
LINKS = 400  # bytes of a run's links to questions
RUNS = 150  # in tables; comparison.csv has all
CURVES = 48  # runs whose learning curves are drawn
WARNINGS = 60
NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # HTML cannot hold these


def report(sweep: str | Path) -> Path:
    """Write the page of a sweep (a directory, its name, or `last`) into its directory, and put it
    on the sweep's parent run in MLflow."""
    from rlvr import tracking

    comparison = read_sweep(manifest.find(sweep))
    page = comparison.directory / FILE
    write_atomic(page, render(comparison))
    parent = comparison.tracking
    tracking.describe_sweep(parent.uri, parent.parent_run_id, artifacts=[page])
    return page


def render(comparison: Comparison) -> str:
    """The page, smaller than LIMIT: it holds as many questions as there is room for."""
    content = gather(comparison)
    found, counted = questions.changed_questions(content["rows"])
    bare = _fill(content, [], len(found), counted)
    room = min(QUESTIONS, LIMIT - len(bare.encode()) - LINKS * len(counted))
    if room < 0:
        raise UserError(
            f"the report of {comparison.directory} is larger than {LIMIT // 1000} kB even without "
            "questions: its runs have very long settings or errors. See rlvr compare instead."
        )
    return _fill(content, questions.selected(found, room), len(found), counted)


def gather(comparison: Comparison) -> dict[str, Any]:
    """What the page tells, except its questions."""
    leading = _leading(comparison)
    rows = sorted(leading[:RUNS], key=lambda row: row.index)
    indexes = {row.index for row in rows}
    recipes = [r for r in comparison.recipes if indexes & {run.index for run in r.runs}]
    taken = spent(recipes)
    accuracy, steps = curves.against_shots(rows, "accuracy")
    warnings = [warning for row in rows for warning in health_warnings(row)]
    format_share, _ = curves.against_shots(rows, "format_rate")
    charts = curves.learning_curves(leading[:CURVES], warnings[:WARNINGS])
    lines = [line for panels in charts.values() for panel in panels for line in panel.lines]
    return {
        "comparison": comparison,
        "title": comparison.title(),
        "verdict": verdict(comparison).splitlines(),
        "rows": rows,
        "best": comparison.best,
        "recipes": recipes,
        "columns": table.columns(comparison),
        "notes": table.notes(comparison),
        "shots": {"accuracy": accuracy, "format": format_share, "names": steps},
        "curves": charts,
        "drawn": len({line.end for line in lines}),
        "looks": list({line.label: line for line in lines}.values()),
        "heat": _heat(rows),
        "spent": taken,
        "priced": any(found.cost is not None for found in taken),
        "matrix": _matrix(comparison),
        "search": study.search(comparison.directory),
        "rules": protocols(comparison, recipes),
        "code": code.code_lines(rows),
        "passes": _passes(rows),
        "warnings": warnings[:WARNINGS],
        "warned": len(warnings),
        "repeat": _repeat(comparison),
    }


def _leading(comparison: Comparison) -> list[RunRow]:
    """The best first, those without a score last."""
    return sorted(
        comparison.rows, key=lambda r: -math.inf if r.score is None else r.score, reverse=True
    )


def _heat(rows: Sequence[RunRow]) -> dict[str, Any] | None:
    """Learning rates down, shots across, mean accuracy; None where either is the same for all."""
    cells: dict[tuple[float, int], list[float]] = {}
    for row in rows:
        rate, count = row.settings.get("trainer.learning_rate"), curves.shots(row)
        if row.trained and isinstance(rate, int | float) and count is not None:
            cells.setdefault((float(rate), count), []).append(row.trained["accuracy"])
    rates, across = sorted({rate for rate, _ in cells}), sorted({count for _, count in cells})
    if len(rates) < 2 or len(across) < 2:
        return None
    lines = [(number(rate), [_mean(cells.get((rate, c), [])) for c in across]) for rate in rates]
    return {"across": across, "lines": lines, "several": max(map(len, cells.values())) > 1}


def _mean(values: Sequence[float]) -> tuple[float | None, int]:
    return (sum(values) / len(values) if values else None), len(values)


def _matrix(comparison: Comparison) -> dict[str, Any] | None:
    """Of what `rlvr evaluate` left in the sweep's folder and in those of its runs; without it, of
    runs whose shots moved, which were asked at both ends."""
    folders = [comparison.directory, *(row.directory for row in comparison.rows)]
    lines = matrix.over_seeds(matrix.read_lines(folders) or matrix.of_results(comparison.rows))
    if not lines:
        return None
    across = sorted({count for line in lines for count in line.scores})
    own = {curves.shots(row): row.base for row in comparison.rows if row.base}
    if set(own) & set(across) and all(line.train_shots is not None for line in lines):
        base = {count: own[count] for count in across if count in own}
        lines.insert(0, matrix.Line(matrix.BASE, "", None, base))
    return {"across": across, "lines": lines}


def _passes(rows: Sequence[RunRow]) -> dict[str, Any] | None:
    """pass@k of each run, base model and trained, with its interval; None for one sample each."""
    lines = [
        (row.index, title, score["pass_at_k"], score.get("pass_at_k_intervals", {}))
        for row in rows
        for phase, title in code.PHASES.items()
        if (score := getattr(row, phase)) and len(score.get("pass_at_k", {})) > 1
    ]
    sizes = sorted({k for _, _, passes, _ in lines for k in passes}, key=int)
    return {"sizes": sizes, "lines": lines} if lines else None


def _repeat(comparison: Comparison) -> dict[str, Any]:
    """Command, and each commit, version and data set that any run has recorded."""
    record = manifest.load(comparison.directory)
    results = [row.result for row in comparison.rows if row.result]
    versions: dict[str, set[str]] = {}
    for name, version in (item for result in results for item in result.versions.items()):
        versions.setdefault(name, set()).add(version)
    data = {
        (name, found["n"], found["digest"])
        for result in results
        for name, found in result.datasets.items()
    }
    commits = {_commit(result.git) for result in results if result.git}
    return {
        "command": shlex.join(record.command),
        "created": record.created,
        "commits": sorted(commits),
        "versions": {name: ", ".join(sorted(found)) for name, found in versions.items()},
        "data": sorted(data),
    }


def _commit(git: dict[str, Any]) -> str:
    changed = f" with uncommitted changes (sha256 {git.get('diff_sha256')})" if git["dirty"] else ""
    return f"{git['commit']}{changed}"


def _fill(
    content: dict[str, Any],
    chosen: Sequence[questions.Question],
    changed: int,
    counts: dict[int, dict[str, int]],
) -> str:
    records = [question.record() for question in chosen]
    linked = {run: _links(records, run) for run in counts}
    filled = _environment().get_template("page.html.jinja").render(
        **content, questions=records, changed=changed, counts=counts, linked=linked,
        data=_finite(_data(content, records, counts)),
    )  # fmt: skip
    return NOT_TEXT.sub("\ufffd", filled)


def _links(records: Sequence[dict[str, Any]], run: int) -> dict[str, list[str]]:
    """Ids of the questions on the page that a run gained and lost, the first few."""
    return {kind: [r["id"] for r in records if run in r[kind]][:5] for kind in ("gained", "lost")}


def _data(
    content: dict[str, Any], records: list[dict[str, Any]], counts: dict[int, dict[str, int]]
) -> dict[str, Any]:
    """The page as data. Where the runs' files lie on a machine is not for mailing."""
    shown_runs = {row.index for row in content["rows"]}
    runs = [r for r in run_records(content["comparison"]) if r["run"] in shown_runs]
    rules = content["rules"]
    return {
        "title": content["title"],
        "verdict": content["verdict"],
        "best": content["best"].index if content["best"] else None,
        "runs": [{k: v for k, v in run.items() if k not in ("sweep", "directory")} for run in runs],
        "benchmarks": {str(r.index): r.result.benchmarks for r in content["rows"] if r.result},
        "curves": {
            title: {
                line.end: [(p.x, p.y) for p in line.points]
                for panel in panels
                for line in panel.lines
            }
            for title, panels in content["curves"].items()
        },
        "spent": [_spent_record(found) for found in content["spent"]],
        "evaluations": [
            {
                "run": line.run,
                "label": line.label,
                "train_shots": line.train_shots,
                "schedule": line.schedule,
                "eval_shots": count,
                "score": score,
            }
            for line in (content["matrix"] or {"lines": []})["lines"]
            for count, score in line.scores.items()
        ],
        "warnings": [{"run": w.run, "steps": w.steps, "text": w.text} for w in content["warnings"]],
        "code": [asdict(line) for line in content["code"]],
        "passes": [
            {"run": run, "phase": phase, "pass_at_k": passes, "intervals": intervals}
            for run, phase, passes, intervals in (content["passes"] or {"lines": []})["lines"]
        ],
        "study": content["search"]["study"] if content["search"] else None,
        "protocols": rules.records() if rules else [],
        "protocol_warnings": rules.warnings if rules else [],
        "question_counts": {str(run): counted for run, counted in counts.items()},
        "questions": records,
        "repeat": content["repeat"],
    }


def _spent_record(found: Spent) -> dict[str, Any]:
    """Of one run of the recipe, and of a percentage point it gained with the ends of that."""
    return {
        "recipe": found.recipe.index,
        "points": found.points,
        "seconds": found.seconds,
        "cost": found.cost,
        "seconds_a_point": found.a_point(found.seconds),
        "cost_a_point": found.a_point(found.cost),
    }


def _finite(value: Any) -> Any:
    """JSON has no nan or infinity; five digits are enough to draw from."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("rlvr.compare", "")
    found = Environment(loader=loader, autoescape=True, undefined=StrictUndefined,
                        trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    shown = {"duration": duration, "dollars": "{:.2g}".format}
    found.filters |= {"percent": percent, "p": p_value, "number": number, **shown}
    found.globals |= {"chart": svg.chart, "swatch": svg.swatch, **shown}
    return found
