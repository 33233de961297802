"""A walk through the gates of a run: what was asked, what was found, and what follows from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from backtest.gates.rules import GateRules, parse_gate_rules
from backtest.report.glossary import glossary
from backtest.report.verdict import SYMBOLS
from engine.errors import UsageError
from engine.yaml_file import read_yaml

__all__ = ["explain", "explain_runs"]

QUESTIONS = {
    "factor": (
        "Factor",
        "Does the score rank returns, and is it more than 12-month momentum under another name?",
    ),
    "ml": ("ML", "Is it as good as a gradient-boosted tree trained on plain factors?"),
    "practical": ("Practical", "Is anything left for somebody who trades it?"),
}
NEXT = {
    "PASS": "Every condition holds with its whole interval: chance alone would rarely do that.",
    "FAIL": "A condition lies on the bad side with its whole interval: more data will hardly help.",
    "INCONCLUSIVE": "An interval holds its threshold, or there is too little to judge: it may be "
    "good or not. More dates, more names or a longer history narrow the interval.",
}


def explain(gates: Mapping[str, Any], rules: GateRules | None, console: Console) -> None:
    """Print the walk through the gates of `gates.json`.

    Parameters
    ----------
    gates
        Content of `gates.json`.
    rules
        Those the gates were judged by; None where nobody knows them any more.
    console
        Where to print.
    """
    for line in _lines(gates, rules):
        console.print(line, highlight=False, markup=False)


def explain_runs(names: list[str], console: Console) -> None:
    """The walk for runs that are finished; UsageError for a folder without `gates.json`."""
    if not names:
        raise UsageError("explain: name a run folder, as in: explain runs/demo")
    for name in names:
        gates = _read(Path(name) / "gates.json")
        rules, remark = _rules_of(Path(name))
        console.print(f"\n{name}", highlight=False, markup=False)
        if remark:
            console.print(f"note: {remark}", highlight=False, markup=False)
        explain(gates, rules, console)


def _rules_of(folder: Path) -> tuple[GateRules | None, str]:
    """The rules that a run recorded, and what to know of them."""
    path = folder / "manifest.json"
    recorded = _read(path).get("gate_rules") if path.exists() else None
    if recorded is None:
        return None, "the run did not record its gate rules; each condition names its threshold"
    try:
        rules = parse_gate_rules(recorded, source=str(path))
    except ValueError as error:
        raise UsageError(str(error)) from None
    try:
        config = read_yaml(folder / "config.yaml")
        file = Path(config["evaluation"]["gates"])
        today = parse_gate_rules(read_yaml(file))
    except (UsageError, ValueError, KeyError, TypeError):
        return rules, ""  # moved to another machine: the run's own rules are all that matters
    same = today == rules
    return rules, "" if same else f"{file} has changed since; below are the rules of the run"


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable {path.name}: {error}") from None


def _lines(gates: Mapping[str, Any], rules: GateRules | None) -> list[str]:
    terms = {} if rules is None else glossary(rules)
    lines = ["", terms["Verdict"]] if terms else []
    for number, gate in enumerate(gates["gates"], start=1):
        title, question = QUESTIONS[gate["name"]]
        lines += ["", f"Gate {number}, {gate['name']}: {gate['verdict']}", f"  {question}"]
        lines += [f"  {terms[f'{title} gate']}", ""] if terms else [""]
        for condition in gate["conditions"]:
            indent = "      " if condition["part_of"] else "    "
            lines.append(f"{indent}{SYMBOLS[condition['verdict']]} {_condition(condition)}")
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
