"""Does a feature depend on where the history begins?

Features at sampled dates are computed again from histories that start a given number of sessions
before the date. A feature that is null there needs more warm-up; one that has another value reads
everything before it, so that a live signal and a backtest would disagree: a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from engine.audit.findings import Finding, compare_tables
from engine.audit.lookahead import merged, sample_dates
from engine.audit.markets import MarketCopies
from engine.audit.stages import Stages, stages_of
from engine.config import Settings
from engine.data.market import Market
from engine.features.regimes import classify_regimes
from engine.progress import WorkProgress

__all__ = ["HISTORIES", "RecursiveAudit", "audit_recursive"]

HISTORIES = (64, 128, 256, 300, 512, 1024)
_DRIFT = 1e-6


@dataclass(frozen=True)
class RecursiveAudit:
    """Findings, the drift of each feature by length of history, and the dates looked at.

    ``drift`` holds column, history (sessions), drift (largest relative difference, None where no
    value can be compared) and missing (share of values that are null for lack of history).
    """

    findings: tuple[Finding, ...]
    drift: pl.DataFrame
    asofs: tuple[date, ...]


def audit_recursive(
    settings: Settings,
    *,
    stages: Stages | None = None,
    dates: int = 2,
    histories: tuple[int, ...] = HISTORIES,
    progress: WorkProgress | None = None,
) -> RecursiveAudit:
    """Features, regimes among them, of the configuration from shorter and shorter histories."""
    run = stages or stages_of(settings)
    findings: list[Finding] = []
    rows = []
    copies = MarketCopies(settings.data)
    loaded = copies.whole()
    asofs = sample_dates(settings, loaded, dates)
    first = loaded.bars["date"].min()
    assert isinstance(first, date)
    whole = _features(run.market(loaded), run, asofs)
    for place, history in enumerate(histories):
        for asof in asofs:
            sessions = loaded.calendar.sessions(first, asof)
            if len(sessions) <= history:
                continue
            short = _features(run.market(copies.since(sessions[-history])), run, [asof])
            expected = whole.filter(pl.col("date") == asof)
            rows += _drift(expected, short, history)
            findings += _findings(expected, short, asof)
        if progress is not None:
            progress.update(place + 1, 0)
    schema = {"column": pl.String, "history": pl.Int64, "drift": pl.Float64, "missing": pl.Float64}
    drift = (
        pl.DataFrame(rows, schema=schema, orient="row")
        .group_by("column", "history", maintain_order=True)
        .agg(pl.col("drift").max(), pl.col("missing").mean())
        .sort("column", "history")
    )
    return RecursiveAudit(tuple(merged(findings)), drift, tuple(asofs))


def _features(market: Market, run: Stages, asofs: list[date]) -> pl.DataFrame:
    """Features of the dates with the regimes beside them, as the panel joins them."""
    features = run.features(market).filter(pl.col("date").is_in(asofs))
    regimes = classify_regimes(market, asofs).rename({"asof": "date"})
    return features.join(regimes, on="date", how="left", maintain_order="left")


def _drift(
    expected: pl.DataFrame, found: pl.DataFrame, history: int
) -> list[tuple[str, int, float | None, float]]:
    both = expected.join(found, on=["date", "ticker"], suffix="_found")
    rows: list[tuple[str, int, float | None, float]] = []
    for name, dtype in expected.schema.items():
        if name in ("date", "ticker"):
            continue
        known = both.filter(pl.col(name).is_not_null())
        there = known.filter(pl.col(f"{name}_found").is_not_null())
        missing = 1 - there.height / known.height if known.height else 0.0
        if not there.height:
            rows.append((name, history, None, missing))
            continue
        a, b = pl.col(name), pl.col(f"{name}_found")
        if dtype.is_float():
            size = pl.max_horizontal(a.abs(), b.abs())
            apart = pl.when(size > 0).then((a - b).abs() / size).otherwise(0.0).max()
        else:
            apart = (a != b).cast(pl.Float64).max()
        rows.append((name, history, there.select(apart).item(), missing))
    return rows


def _findings(expected: pl.DataFrame, found: pl.DataFrame, asof: date) -> list[Finding]:
    """Cells with another value; null for lack of history is none."""
    names = [name for name in expected.columns if name not in ("date", "ticker")]
    both = expected.join(found, on=["date", "ticker"], suffix="_found")
    masked = both.select(
        "date",
        "ticker",
        *(
            pl.when(pl.col(f"{name}_found").is_not_null()).then(pl.col(name)).alias(name)
            for name in names
        ),
    )
    return compare_tables(
        masked,
        found,
        check="history",
        table="features",
        keys=["date", "ticker"],
        tolerance=_DRIFT,
        asof=asof,
    )
