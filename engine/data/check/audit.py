"""The audit of bars: every rule, one frame of findings.

1. `rules.judge` takes out the rows an import would quarantine; each is an error.
2. Of the rows left, `daily_bars` makes one adjusted bar a ticker and session.
3. `overnight` puts beside each bar what stood before it and what followed.
4. The rules read these frames; what one rule explains another does not report again: a split is
   no distribution, a change of unit no split. With another exchange's calendar nothing can be
   said about nights and gaps, so then only `judge` and the calendar rule speak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from engine.calendar import TradingCalendar
from engine.data.check import bars as bar_rules
from engine.data.check import units
from engine.data.check.findings import FINDINGS, QUARANTINE_RULES, RULES
from engine.data.check.limits import Limits, SymbolChange, load_limits, load_symbol_changes
from engine.data.check.splits import (
    daily_bars,
    distribution_findings,
    distributions,
    overnight,
    split_findings,
    splits,
)
from engine.data.contract import complete
from engine.data.rules import judge

__all__ = ["Audit", "audit"]


@dataclass(frozen=True)
class Audit:
    """What an audit looked at and what it found.

    Attributes
    ----------
    findings
        rule, severity, ticker, date, message: errors first, then by rule, ticker and date.
    rows, tickers, start, end
        Rows seen, tickers, first and last date of the rows that are left.
    calendar
        The calendar's name.
    sources
        The files.
    """

    findings: pl.DataFrame
    rows: int
    tickers: int
    start: date | None
    end: date | None
    calendar: str
    sources: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Findings of each rule that found something, in the order of the findings."""
        grouped = self.findings.group_by("rule", maintain_order=True).len()
        return dict(grouped.iter_rows())

    def severity_count(self, severity: str) -> int:
        """Findings of one severity."""
        return int((self.findings["severity"] == severity).sum())


def audit(
    rows: pl.DataFrame,
    calendar: TradingCalendar,
    *,
    limits: Limits | None = None,
    changes: Sequence[SymbolChange] | None = None,
    stated: pl.DataFrame | None = None,
    quarantined_before: pl.DataFrame | None = None,
    sources: Sequence[str] = (),
) -> Audit:
    """Judge rows as a source hands them over (`contract.conform`), before anything is dropped.

    `limits` and `changes` are by default those of `configs/`; `stated` has the currencies and
    zones that the input itself names (`units.labels`); `quarantined_before` the rows that the
    import into a store left out, which are errors still.
    """
    limits = limits or load_limits()
    changes = load_symbol_changes() if changes is None else changes
    kept, quarantined = judge(rows, calendar)
    kept, _ = complete(kept)
    daily = daily_bars(kept)
    if quarantined_before is not None:
        quarantined = pl.concat([quarantined, quarantined_before.select(quarantined.columns)])
    frames = [_quarantine(quarantined), bar_rules.order(rows)]
    if stated is not None:
        frames.append(units.labels(stated))
    extra = int((quarantined["rule"] == "not a session").sum())
    mismatch = units.calendar_mismatch(extra, rows, calendar, limits.calendar)
    frames.append(mismatch)
    if mismatch.is_empty():
        frames.append(units.mixed_zone(rows, quarantined, daily, calendar, limits.zone))
        frames += _of_bars(kept, daily, limits)
        # A session whose bar was quarantined is not missing too.
        key = ["ticker", "date"]
        seen = pl.concat([daily.select(key), quarantined.select(key)]).drop_nulls().unique()
        holes = bar_rules.gaps(seen, calendar)
        frames += [
            bar_rules.missing_sessions(holes, daily, limits.sessions),
            bar_rules.ticker_reuse(holes, limits.sessions),
            bar_rules.survivorship(daily, calendar, limits.survivorship),
        ]
    frames.append(bar_rules.predecessors(daily, changes))
    return Audit(
        findings=_sorted(pl.concat(frames)),
        rows=rows.height,
        tickers=kept["ticker"].n_unique(),
        start=kept["date"].min(),  # type: ignore[arg-type]
        end=kept["date"].max(),  # type: ignore[arg-type]
        calendar=calendar.name,
        sources=tuple(sources),
    )


def _quarantine(quarantined: pl.DataFrame) -> pl.DataFrame:
    return quarantined.select(
        rule=pl.col("rule").replace_strict(QUARANTINE_RULES, default="quarantined"),
        severity=pl.lit("error"),
        ticker="ticker",
        date="date",
        message="message",
    ).cast(FINDINGS)


def _of_bars(kept: pl.DataFrame, daily: pl.DataFrame, limits: Limits) -> list[pl.DataFrame]:
    around = overnight(daily)
    jumps = units.unit_jumps(around, limits.currency)
    key = ["ticker", "date"]
    split = splits(around, limits.split).join(jumps, on=key, how="anti")
    explained = pl.concat([jumps.select(key), split.select(key)])
    paid = distributions(around, limits.distribution).join(explained, on=key, how="anti")
    return [
        units.mixed_currency(jumps),
        split_findings(split),
        distribution_findings(paid),
        bar_rules.zero_volume(daily),
        bar_rules.stale(kept, limits.stale),
        bar_rules.extreme_range(around, limits.extreme_range),
    ]


def _sorted(findings: pl.DataFrame) -> pl.DataFrame:
    ranks = {rule: at for at, rule in enumerate(RULES)}
    return (
        findings.with_columns(_rank=pl.col("rule").replace_strict(ranks, return_dtype=pl.Int32))
        .sort("_rank", "ticker", "date", nulls_last=True, maintain_order=True)
        .drop("_rank")
    )
