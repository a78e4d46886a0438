"""The table at the end of a run."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rlvr.result import Result

OTHER_FORM = "looks for answers of another form"


def print_result(result: Result, run_dir: Path, places: Mapping[str, str] | None = None) -> None:
    """Base and trained side by side, benchmarks below, and where everything is; `places` are what
    the tracker names."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    shown = [name for name in ("base", "trained") if getattr(result, name)]
    if shown:
        trained = f", trained with {result.schedule}" if result.schedule else ""
        title = f"{result.shots} shots{trained}, seed {result.seed}"
        table = Table(title=title, title_justify="left")
        table.add_column("")
        for name in shown:
            table.add_column(name, justify="right")
        scores = [getattr(result, name) for name in shown]
        for label, text in _lines(scores[0]).items():
            table.add_row(label, *map(text, scores))
        for benchmark, found in result.benchmarks.items():
            table.add_section()
            for label in ("accuracy", "95 % interval", "questions"):
                text = _lines(found[shown[0]])[label]
                table.add_row(f"{benchmark}: {label}", *(text(found[name]) for name in shown))
        table.add_section()
        for rule, found in result.protocols.items():
            table.add_row(rule, *(_under_rule(found, name) for name in shown))
        console.print(table)
    if result.paired:
        console.print(_verdict(result.base, result.trained, result.paired))
    for benchmark, found in result.benchmarks.items():
        if "paired" in found:
            verdict = _verdict(found["base"], found["trained"], found["paired"])
            console.print(f"{benchmark}: {verdict}")
    for rule, found in result.protocols.items():
        if found.get("other_form"):
            console.print(f"*: {rule} {OTHER_FORM}: {found['other_form']}", markup=False)
        if found.get("warning"):
            console.print(f"WARNING: {found['warning']}", style="bold red", markup=False)
    sampler = f" (sampled by the engine {result.engine})" if result.engine else ""
    console.print(f"results: {run_dir}{sampler}")
    for what, where in (places or {}).items():  # one line whatever the width: it can be clicked
        console.print(f"{what}: {where}", soft_wrap=True, markup=False, highlight=False)


def _lines(example: dict[str, Any]) -> dict[str, Callable[[dict[str, Any]], str]]:
    """Row label to a function from a score to its cell."""
    lines: dict[str, Callable[[dict[str, Any]], str]] = {
        "accuracy": lambda s: f"{s['accuracy']:.1%}",
        "95 % interval": lambda s: f"{s['low']:.1%} to {s['high']:.1%}",
        "questions": lambda s: str(s["n"]),
        "well-formed answers": lambda s: f"{s['format_rate']:.1%}",
        "tokens a completion": lambda s: f"{s['mean_length']:.0f}",
    }
    for k in example.get("pass_at_k", ()):
        if k != "1":
            lines[f"pass@{k}"] = partial(_pass_at, k)
    for which in example.get("tests_passed", ()):
        label = "tests passed" if which == "all" else f"{which} tests passed"
        lines[label] = partial(_tests_passed, which)
    return lines


def _pass_at(k: str, score: dict[str, Any]) -> str:
    low, high = score.get("pass_at_k_intervals", {}).get(k, (None, None))
    interval = "" if low is None else f" ({low:.1%} to {high:.1%})"
    return f"{score['pass_at_k'][k]:.1%}{interval}"


def _tests_passed(which: str, score: dict[str, Any]) -> str:
    passed = score["tests_passed"].get(which)
    return "-" if passed is None else f"{passed:.1%}"


def _under_rule(found: dict[str, Any], phase: str) -> str:
    """`25.0% (10.2% to 49.5%)`."""
    score = found[phase]
    interval = f"{score['low']:.1%} to {score['high']:.1%}"
    return f"{score['accuracy']:.1%} ({interval}){'*' if found.get('other_form') else ''}"


def _verdict(base: dict[str, Any] | None, trained: dict[str, Any] | None, p: dict[str, Any]) -> str:
    assert base
    assert trained
    points = 100 * (trained["accuracy"] - base["accuracy"])
    value = "p < 0.001" if p["p_value"] < 0.001 else f"p = {p['p_value']:.3f}"
    return (
        f"{points:+.1f} points; {p['trained_only']} questions won, {p['base_only']} lost, "
        f"of {p['n']}: {value} (exact McNemar test)"
    )
