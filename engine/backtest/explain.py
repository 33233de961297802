"""A walk through the gates of a run: what was asked, what was found, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.errors import UsageError

__all__ = ["explain", "explain_lines", "explain_runs"]

QUESTIONS = {
    "factor": (
        "Does the score rank returns, and is it more than 12-month momentum under another name?",
        "Each horizon's mean RankIC must lie above the threshold with its whole 95 % interval, on "
        "enough horizons; so must its correlation with momentum lie within the limit.",
    ),
    "ml": (
        "Is it as good as a gradient-boosted tree trained on plain factors in the same run?",
        "The threshold of a horizon is min(0.05, max(0.02, LightGBM − 0.03)); judged is the "
        "difference on the same dates. One horizon is enough.",
    ),
    "practical": (
        "Is anything left for somebody who trades it?",
        "On the longer half of the horizons: little enough churn, a positive net excess in enough "
        "folds and on the whole, and no market regime in which the score ranks backwards.",
    ),
}
NEXT = {
    "PASS": "Every condition holds with its whole interval: chance alone would rarely do that.",
    "FAIL": "A condition lies on the bad side with its whole interval: more data will hardly help.",
    "INCONCLUSIVE": "An interval holds its threshold, or there is too little to judge: it may be "
    "good or not. More dates, more names or a longer history narrow the interval.",
}
SIGNS = {"PASS": "✓", "FAIL": "✗", "INCONCLUSIVE": "?"}


def explain(gates: Mapping[str, Any], console: Console) -> None:
    """Print the walk through the gates of `gates.json`."""
    for line in explain_lines(gates):
        console.print(line, highlight=False, markup=False)


def explain_runs(names: list[str], console: Console) -> None:
    """The walk for runs that are finished; UsageError for a folder without `gates.json`."""
    if not names:
        raise UsageError("explain: name a run folder, as in: explain runs/demo")
    for name in names:
        path = Path(name) / "gates.json"
        try:
            gates = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: not a readable gates.json: {error}") from None
        console.print(f"\n{name}", highlight=False, markup=False)
        explain(gates, console)


def explain_lines(gates: Mapping[str, Any]) -> list[str]:
    """The walk as lines of text."""
    lines = []
    for number, gate in enumerate(gates["gates"], start=1):
        question, rule = QUESTIONS[gate["name"]]
        lines += ["", f"Gate {number}, {gate['name']}: {gate['verdict']}", f"  {question}"]
        lines += [f"  {rule}", ""]
        for condition in gate["conditions"]:
            indent = "      " if condition["part_of"] else "    "
            lines.append(f"{indent}{SIGNS[condition['verdict']]} {_condition(condition)}")
        lines += ["", *(f"    {reason}" for reason in gate["reasons"][:1])]
        lines.append(f"  {NEXT[gate['verdict']]}")
    return lines


def _condition(condition: Mapping[str, Any]) -> str:
    text = condition["name"]
    if condition["value"] is None:
        return f"{text}: not known"
    text += f": {condition['value']:.4g}"
    if condition["ci95"]:
        low, high = condition["ci95"]
        text += f", 95 % interval {low:.4g} to {high:.4g}"
    if condition["threshold"] is not None:
        text += f" against {condition['threshold']:.4g}"
    return text
