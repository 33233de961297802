"""The rules of the audit, and the frame of what they found."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import polars as pl

__all__ = ["FINDINGS", "QUARANTINE_RULES", "RULES", "Rule", "found", "nothing", "to_json"]

Severity = Literal["error", "warning"]

FINDINGS = pl.Schema(
    {
        "rule": pl.String,
        "severity": pl.String,
        "ticker": pl.String,
        "date": pl.Date,
        "message": pl.String,
    }
)
"""ticker is null where a finding is about the whole input, date where it is about no one day."""


class Rule(NamedTuple):
    """A rule's severity, and in one line what breaks it.

    An error is a row that an import would quarantine. A warning is counted and shown; its rows
    stay, because they may be right.
    """

    severity: Severity
    meaning: str


QUARANTINE_RULES: Mapping[str, str] = MappingProxyType(
    {
        "no ticker": "ticker-missing",
        "unreadable date": "date-unreadable",
        "not a session": "extra-session",
        "outside trading hours": "outside-hours",
        "missing or non-finite price": "price-not-finite",
        "non-positive price": "price-not-positive",
        "high below low": "high-below-low",
        "high below open or close": "high-below-body",
        "low above open or close": "low-above-body",
        "negative volume": "volume-negative",
        "negative amount": "amount-negative",
        "invalid adj_factor": "factor-invalid",
        "duplicate row": "duplicate-row",
        "conflicting duplicates": "duplicate-conflict",
    }
)
"""What `engine.data.rules` calls a rule → its id here."""

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "ticker-missing": Rule("error", "the row names no ticker"),
        "date-unreadable": Rule("error", "the date is missing or cannot be read"),
        "extra-session": Rule("error", "a bar on a day that is no session of the exchange"),
        "outside-hours": Rule("error", "an intraday bar that starts while the exchange is closed"),
        "price-not-finite": Rule("error", "a price is missing, infinite or not a number"),
        "price-not-positive": Rule("error", "a price is zero or negative"),
        "high-below-low": Rule("error", "high is below low"),
        "high-below-body": Rule("error", "high is below open or close"),
        "low-above-body": Rule("error", "low is above open or close"),
        "volume-negative": Rule("error", "volume is negative or infinite"),
        "amount-negative": Rule("error", "amount is negative or infinite"),
        "factor-invalid": Rule("error", "adj_factor is missing, not finite or not positive"),
        "duplicate-row": Rule("error", "the same row again: one is kept"),
        "duplicate-conflict": Rule("error", "rows of one date that differ: none is kept"),
        "quarantined": Rule("error", "quarantined by an import, for the reason given"),
        "calendar-mismatch": Rule("warning", "many bars on days that are no session"),
        "unadjusted-split": Rule(
            "warning", "an overnight jump near a ratio of small integers, value traded unshaken"
        ),
        "unadjusted-distribution": Rule(
            "warning", "an overnight drop without volume: a dividend or spin-off left in the price"
        ),
        "mixed-currency": Rule("warning", "prices of more than one currency or unit"),
        "mixed-zone": Rule("warning", "dates or times of more than one time zone"),
        "ticker-reuse": Rule("warning", "a gap of more than a year: another company's symbol now"),
        "predecessor-history": Rule("warning", "bars of the security that had the symbol before"),
        "missing-session": Rule("warning", "sessions without a bar between the first and last bar"),
        "zero-volume": Rule("warning", "nothing traded that day, yet there is a bar"),
        "stale": Rule("warning", "the bar repeats the last one or did not move from its close"),
        "extreme-range": Rule("warning", "high and low so far apart that any stop or limit fills"),
        "order": Rule("warning", "rows that are not in order of time"),
        "survivorship": Rule("warning", "nearly every name lives to the end of the data"),
    }
)


def found(rows: pl.DataFrame | pl.LazyFrame, rule: str, message: pl.Expr) -> pl.DataFrame:
    """Findings of one rule: a row of `rows` each, with its ticker and date where it has them."""
    columns = rows.collect_schema().names()
    absent = {"ticker": pl.String, "date": pl.Date}
    keys = {
        name: pl.col(name) if name in columns else pl.lit(None, dtype=kind)
        for name, kind in absent.items()
    }
    frame = rows.lazy().select(
        rule=pl.lit(rule), severity=pl.lit(RULES[rule].severity), **keys, message=message
    )
    return frame.select(*FINDINGS).collect().cast(FINDINGS)


def nothing() -> pl.DataFrame:
    """No finding."""
    return pl.DataFrame(schema=FINDINGS)


def to_json(findings: pl.DataFrame) -> dict[str, Any]:
    """The content of `check --json`: version and findings, dates as ISO text."""
    rows = findings.with_columns(pl.col("date").dt.to_string("%Y-%m-%d"))
    return {"version": 1, "findings": rows.to_dicts()}
