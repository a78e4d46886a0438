"""A comparison as plain data: one flat record a run, CSV and JSON."""

import csv
import io
import json
from typing import Any

from rlvr.compare.comparison import Comparison, Rival
from rlvr.compare.protocols import protocols
from rlvr.compare.recipes import Recipe
from rlvr.compare.runs import RunRow
from rlvr.compare.table import WITHOUT_SCORE, reason
from rlvr.compare.verdict import verdict

OF_A_SCORE = ("accuracy", "low", "high", "n", "format_rate", "well_formed_accuracy")


def run_records(comparison: Comparison) -> list[dict[str, Any]]:
    """One a run: shares of one, `points` in percent of the questions; docs/sweeps.md has each name.

    What is of its recipe stands in each of a recipe's runs.
    """
    rivals = {rival.recipe.index: rival for rival in comparison.rivals}
    whole = {
        run.index: _of_recipe(comparison, recipe, rivals.get(recipe.index))
        for recipe in comparison.recipes
        for run in recipe.runs
    }
    return [_of_run(run, whole[run.index]) for run in comparison.rows]


def _of_run(run: RunRow, recipe: dict[str, Any]) -> dict[str, Any]:
    known = {"name": run.name, "seed": run.seed, **run.varied, "state": run.state}
    for phase, score in (("base", run.base), ("trained", run.trained)):
        known |= {f"{phase}_{part}": (score or {}).get(part) for part in OF_A_SCORE}
        passes = (score or {}).get("pass_at_k", {})
        known |= {f"{phase}_pass_at_{k}": share for k, share in passes.items() if k != "1"}
    return {
        "run": run.index,
        **known,
        "points": run.points,
        "p_value": run.p_value,
        "value": run.value,
        **recipe,
        "seconds": run.result.seconds if run.result else None,
        "cost": run.result.cost if run.result else None,
        "error": reason(run) if run.state in WITHOUT_SCORE else None,
        **_of_pruned(run),
        "run_id": run.run_id,
        "sweep": str(run.origin),
        "directory": str(run.directory),
    }


def _of_pruned(run: RunRow) -> dict[str, Any]:
    """Where it was ended early, and what it had reached on validation questions by then."""
    pruned = run.pruned or {}
    look = pruned.get("look", {})
    return {
        "pruned_rule": pruned.get("rule"),
        "pruned_step": look.get("step"),
        **{f"validation_{part}": look.get(part) for part in ("accuracy", "low", "high", "n")},
    }


def _of_recipe(comparison: Comparison, recipe: Recipe, rival: Rival | None) -> dict[str, Any]:
    trained, gain = recipe.trained or {}, recipe.gain
    behind = rival.difference if rival else None
    return {
        "recipe": recipe.index,
        "recipe_runs": len(recipe.runs),
        **{f"recipe_{part}": trained.get(part) for part in ("accuracy", "low", "high")},
        "recipe_deviation": trained.get("deviation"),
        "recipe_points": recipe.points,
        "recipe_points_low": 100 * gain.low if gain else None,
        "recipe_points_high": 100 * gain.high if gain else None,
        "recipe_p_value": recipe.p_value,
        "recipe_p_holm": comparison.gain_p_values.get(recipe.index),
        "vs_best_points": -100 * behind.mean if behind else None,
        "vs_best_points_low": -100 * behind.high if behind else None,
        "vs_best_points_high": -100 * behind.low if behind else None,
        "vs_best_n": behind.n if behind else None,
        "vs_best_p_holm": rival.p_value if rival else None,
    }


def as_csv(comparison: Comparison) -> str:
    found = run_records(comparison)
    text = io.StringIO()
    names = list(dict.fromkeys(name for record in found for name in record))
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def as_json(
    comparison: Comparison, *, chart: str | None = None, links: dict[str, str | None] | None = None
) -> str:
    best, rules = comparison.best, protocols(comparison)
    content = {
        "title": comparison.title(),
        "verdict": verdict(comparison).splitlines(),
        "sweep": comparison.name,
        "differs": comparison.keys,
        "best": None if best is None else best.index,
        "runs": run_records(comparison),
        "protocols": rules.records() if rules else [],
        "warnings": rules.warnings if rules else [],
        "chart": chart,
        "links": links or {},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
