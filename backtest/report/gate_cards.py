"""The gate cards: verdict, reason and the numbers that decided, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .data import ReportData
from .formatting import (
    Formatter,
    count,
    decimal,
    interval,
    is_number,
    number,
    percent,
    share,
    told_apart,
)

__all__ = ["SYMBOLS", "Condition", "Gate", "gates"]

SYMBOLS = {"PASS": "✓", "FAIL": "✗", "INCONCLUSIVE": "?"}
QUESTIONS = {
    "factor": ("Factor", "Does the score rank returns, beyond momentum?"),
    "ml": ("ML", "Is it as good as a trained baseline?"),
    "practical": ("Practical", "Does it survive costs, churn and regimes?"),
}


@dataclass(frozen=True)
class Condition:
    """One line of a gate: what was asked and the numbers that answered it."""

    name: str
    verdict: str
    symbol: str
    value: str
    interval: str
    part: bool


@dataclass(frozen=True)
class Gate:
    """One gate card. `reason` decides in one sentence, `more` holds the other reasons."""

    name: str
    title: str
    question: str
    verdict: str
    symbol: str
    reason: str
    more: list[str]
    conditions: list[Condition]


def gates(data: ReportData) -> list[Gate]:
    """The gates in the order of ``gates.json``."""
    return [_gate(entry) for entry in data.gates.get("gates") or []]


def _gate(entry: dict[str, Any]) -> Gate:
    name = str(entry.get("name", ""))
    title, question = QUESTIONS.get(name, (name.capitalize(), ""))
    verdict = str(entry.get("verdict", "INCONCLUSIVE"))
    reasons = [str(reason) for reason in entry.get("reasons") or []]
    return Gate(
        name=name,
        title=title,
        question=question,
        verdict=verdict,
        symbol=SYMBOLS.get(verdict, "?"),
        reason=reasons[0] if reasons else "No reason was recorded.",
        more=reasons[1:],
        conditions=_conditions(entry.get("conditions") or []),
    )


def _conditions(entries: list[dict[str, Any]]) -> list[Condition]:
    """Conditions that say something: a verdict or a number, or parts that do."""
    told = [e for e in entries if e.get("verdict") != "INCONCLUSIVE" or is_number(e.get("value"))]
    wholes = {e.get("part_of") for e in entries} - {None}
    speaking = {e.get("part_of") for e in told}
    return [
        _condition(entry, counts=entry.get("name") in wholes)
        for entry in told
        if entry.get("name") not in wholes or entry.get("name") in speaking
    ]


def _condition(entry: dict[str, Any], *, counts: bool) -> Condition:
    """One condition as text; the value of one that `counts` others is how many of them pass."""
    name, verdict = str(entry.get("name", "")), str(entry.get("verdict", "INCONCLUSIVE"))
    value, threshold = entry.get("value"), entry.get("threshold")
    formatter, digits, scale, unit = (count, 0, 1.0, "") if counts else _unit(name)
    text = formatter(value) if is_number(value) else ""
    if is_number(value) and is_number(threshold) and text == formatter(threshold):
        text = told_apart(value, threshold, digits=digits, scale=scale) + unit
    return Condition(
        name=name,
        verdict=verdict,
        symbol=SYMBOLS.get(verdict, "?"),
        value=text,
        interval=interval(entry.get("ci95"), formatter),
        part=entry.get("part_of") is not None,
    )


def _unit(name: str) -> tuple[Formatter, int, float, str]:
    """How a condition's number is written, by the quantity its name mentions."""
    lowered = name.lower()
    if "excess" in lowered:
        return percent, 2, 100.0, "%"
    if "survival" in lowered:
        return share, 0, 100.0, "%"
    if "regime" in lowered:
        return count, 0, 1.0, ""
    if "churn" in lowered:
        return number(2), 2, 1.0, ""
    return decimal, 3, 1.0, ""
