"""Does anything computed for a date depend on what comes after it, or on a price level?

1. ``truncated``: at sampled dates the data end at the date; features at every date before, and
   scores, panel, weights and the LightGBM baseline of the date, are computed again and compared
   cell by cell
2. ``noised``: the same with everything after the date replaced by another random history
3. ``rescaled``: one ticker's whole adjusted price history times a constant, as a later split
   does; nothing may move by more than 10⁻⁶ of itself
4. ``scaled``: the same of its recorded prices and traded money, columns of money excepted. Scores
   of models, and the baseline, are left to 3: Kronos' published normaliser adds 10⁻⁵ to the
   standard deviation of the recorded prices, which moves its scores by about that, and LightGBM
   learns from traded money
5. ``shuffled``: scores dealt out anew within each date must have no RankIC (`shuffle`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import polars as pl

from engine.audit.findings import Finding, compare_tables
from engine.audit.markets import MarketCopies
from engine.audit.shuffle import Permutation, permutation_test
from engine.audit.stages import LABEL_COLUMNS, Stages, stages_of
from engine.config import Settings
from engine.data.market import Market
from engine.decisions.dates import decision_dates
from engine.decisions.weights import SCORE_COLUMNS
from engine.errors import UsageError
from engine.features.factors import FACTORS
from engine.forecasters.named import named_model
from engine.progress import WorkProgress

__all__ = ["LookaheadAudit", "audit_lookahead", "merged", "sample_dates"]

# Numbers that come from the same rows may be summed in another order.
_SAME = 1e-9
_SCALED = 1e-6
# A power of two changes no digit of a price, only its level; both ways, to cross any threshold.
_CONSTANTS = (2.0**6, 2.0**-6)


@dataclass(frozen=True)
class LookaheadAudit:
    """Findings (none: nothing looked ahead), what was looked at, and the permutation test."""

    findings: tuple[Finding, ...]
    asofs: tuple[date, ...]
    cells: int
    permutation: tuple[Permutation, ...]


@dataclass(frozen=True)
class _Tables:
    features: pl.DataFrame
    panel: pl.DataFrame
    weights: pl.DataFrame
    baseline: pl.DataFrame


def audit_lookahead(
    settings: Settings,
    *,
    stages: Stages | None = None,
    dates: int = 4,
    shuffled_dates: int = 0,
    seed: int = 0,
    progress: WorkProgress | None = None,
) -> LookaheadAudit:
    """Run the configuration on changed data and compare.

    `stages` replaces the configuration's own functions. `dates` decision dates are looked at,
    spread over all of them, and `shuffled_dates` (if more) by the permutation test. Raises
    UsageError when the configuration has too few dates.
    """
    run = stages or stages_of(settings)
    copies = MarketCopies(settings.data)
    loaded = copies.whole()
    asofs = sample_dates(settings, loaded, dates)
    total = 2 * len(asofs) + 2 * len(_CONSTANTS) + 1
    whole = _tables(run, run.market(loaded), asofs)
    _advance(progress, 1, total)
    findings: list[Finding] = []
    for place, asof in enumerate(asofs):
        for check, market in (
            ("truncated", copies.truncated(asof)),
            ("noised", copies.noised(asof, seed=seed + place)),
        ):
            again = _tables(run, run.market(market), [asof])
            findings += _compare(whole, again, check=check, asof=asof, known_until=asof)
            _advance(progress, 2 + 2 * place + (check == "noised"), total)
    exact = named_model(settings.model.name).is_light
    findings += _level_changes(run, copies, whole, asofs, exact_scores=exact)
    judged = whole.panel
    if shuffled_dates > len(asofs):
        market = run.market(loaded)
        dates_judged = sample_dates(settings, loaded, shuffled_dates)
        judged = run.decide(run.scores(market, dates_judged), market).panel
    _advance(progress, total, total)
    permutation = permutation_test(
        judged, min_cross_section=settings.evaluation.min_cross_section, seed=seed
    )
    findings += [item.finding() for item in permutation if item.suspicious]
    cells = sum(table.height * table.width for table in (whole.features, whole.panel))
    return LookaheadAudit(tuple(merged(findings)), tuple(asofs), cells, tuple(permutation))


def sample_dates(settings: Settings, market: Market, dates: int) -> list[date]:
    """Decision dates that have bars after them, spread evenly."""
    known = [
        day
        for day in decision_dates(
            market,
            settings.evaluation,
            rebalance=settings.scoring.rebalance,
            lookback=settings.scoring.lookback,
        )
        if day < market.last_session
    ]
    if not known:
        raise UsageError("no decision date has bars after it: there is no future to change")
    places = np.linspace(0, len(known) - 1, min(dates, len(known)) + 1)[1:].round().astype(int)
    return [known[place] for place in sorted(set(places.tolist()))]


def _tables(run: Stages, market: Market, asofs: Sequence[date]) -> _Tables:
    decided = run.decide(run.scores(market, asofs), market)
    return _Tables(
        run.features(market), decided.panel, decided.weights, run.baseline(market, asofs)
    )


def _compare(
    whole: _Tables,
    again: _Tables,
    *,
    check: str,
    asof: date | None,
    known_until: date | None = None,
    tolerance: float = _SAME,
    exempt: Sequence[str] = (),
) -> list[Finding]:
    """Features up to `known_until`, the rest at it; all dates where it is None."""

    def part(frame: pl.DataFrame, column: str, *, only: bool) -> pl.DataFrame:
        if known_until is None:
            return frame
        day = pl.col(column)
        return frame.filter(day == known_until if only else day <= known_until)

    common = {"check": check, "tolerance": tolerance, "asof": asof, "exempt": exempt}
    features = (part(table.features, "date", only=False) for table in (whole, again))
    panels = (part(table.panel.drop(LABEL_COLUMNS, strict=False), "asof", only=True)
              for table in (whole, again))  # fmt: skip
    weights = (part(table.weights, "asof", only=True) for table in (whole, again))
    baselines = (part(table.baseline, "asof", only=True) for table in (whole, again))
    return [
        *compare_tables(*features, table="features", keys=["date", "ticker"], **common),  # type: ignore[arg-type]
        *compare_tables(*panels, table="panel", keys=["asof", "ticker", "horizon"], **common),  # type: ignore[arg-type]
        *compare_tables(*weights, table="weights", keys=["asof", "ticker"], **common),  # type: ignore[arg-type]
        *compare_tables(*baselines, table="baseline", keys=["asof", "ticker", "horizon"], **common),  # type: ignore[arg-type]
    ]


def _level_changes(
    run: Stages,
    copies: MarketCopies,
    whole: _Tables,
    asofs: Sequence[date],
    *,
    exact_scores: bool,
) -> list[Finding]:
    """One scored ticker, in the middle of the alphabet, at every sampled date."""
    names = whole.panel.filter(pl.col("status") == "ok")["ticker"].unique().sort().to_list()
    if not names:
        return []
    ticker = names[len(names) // 2]
    money = ["last_close", *(name for name, factor in FACTORS.items() if factor.reads == "money")]
    findings = []
    for constant in _CONSTANTS:
        for check, market in (
            ("rescaled", copies.rescaled(ticker, constant)),
            ("scaled", copies.scaled(ticker, constant)),
        ):
            again, before, exempt = _tables(run, run.market(market), asofs), whole, money
            if check == "rescaled":
                exempt = []
            else:
                before = replace(before, baseline=again.baseline)
                if not exact_scores:
                    exempt = [*money, *SCORE_COLUMNS]
                    before = replace(before, weights=again.weights)
            findings += _compare(
                before, again, check=check, asof=None, tolerance=_SCALED, exempt=exempt
            )
    return findings


def merged(findings: Sequence[Finding]) -> list[Finding]:
    """The first finding of each check, table and column, counting the cells of all."""
    first: dict[tuple[str, str, str], Finding] = {}
    for item in findings:
        key = (item.check, item.table, item.column)
        seen = first.get(key)
        cells = item.cells + (seen.cells if seen else 0)
        first[key] = Finding(**{**vars(seen or item), "cells": cells})
    return list(first.values())


def _advance(progress: WorkProgress | None, done: int, total: int) -> None:
    if progress is not None:
        progress.update(min(done, total), 0)
