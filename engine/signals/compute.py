"""From bars to target weights at one session, by the functions of the backtest.

1. `known_market` holds nothing after the session; quotes may make its last bar.
2. `_replayed_dates`: the session, and earlier rebalances where the strategy remembers them.
3. `score_with_choice` scores them, by the preferred forecaster or the fallback.
4. `decide_weights`, the main job's own, gives the weights.
5. `signals_table` ranks, compares with the last target and says who is left out and why.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl
from rich.console import Console

from engine.calendar import TradingCalendar
from engine.config import Settings
from engine.data.market import Market
from engine.decisions.dates import Span, decision_dates, rebalance_dates
from engine.decisions.strategies import GridPoint, grid_points
from engine.decisions.weights import decide_weights
from engine.errors import UsageError
from engine.features.factors import check_factors
from engine.forecasters.named import named_model
from engine.run_folder import RunFolder
from engine.signals.forecasters import Chosen, score_with_choice
from engine.signals.market import known_market
from engine.signals.table import signals_table
from strategies import Strategy

__all__ = ["FOLDER", "Signals", "compute_signals", "config_hash"]

FOLDER = "signals"
"""The folder of signals in `run.dir`."""


@dataclass(frozen=True)
class Signals:
    """What is wanted at the close of a session, and what it was made of.

    Attributes
    ----------
    asof
        The session.
    table
        The columns of `table.SIGNALS`, the ranked names first.
    weights
        asof, ticker, weight of every scored name; empty when `rebalance` is false.
    rebalance
        False where the strategy keeps its book on this date.
    closes
        ticker, date, close as recorded, of every name's last bar.
    horizon
        Horizon in sessions of the scores in the table, the one the strategy ranks by.
    forecaster
        As `model.name` takes it.
    fallback_reason
        Why it is not `model.name`; None if it is.
    fingerprint
        Of the scores.
    identity
        What the fingerprint was made of.
    config_hash
        Of all settings that can change a weight or an order.
    model_hash
        Of the forecaster's weights.
    data_hash
        Of the bars.
    drops
        Rows, windows and quotes left out, by reason.
    failed
        Windows that no actor could score, by reason.
    replayed
        Rebalances scored, of which `asof` is the last.
    change_from
        The replayed rebalance that `change` is counted from; None where the caller said what was
        held, or nothing was.
    """

    asof: date
    table: pl.DataFrame
    weights: pl.DataFrame
    rebalance: bool
    closes: pl.DataFrame
    horizon: int
    forecaster: str
    fallback_reason: str | None
    fingerprint: str
    identity: dict[str, Any]
    config_hash: str
    model_hash: str
    data_hash: str
    drops: dict[str, int]
    failed: dict[str, int]
    replayed: int
    change_from: date | None = None


def compute_signals(
    settings: Settings,
    asof: date,
    *,
    market: Market | None = None,
    quotes: pl.DataFrame | None = None,
    previous: pl.DataFrame | None = None,
    now: datetime | None = None,
    console: Console | None = None,
) -> Signals:
    """Signals of the session `asof`; nothing later is looked at.

    Parameters
    ----------
    settings
        The whole tree; `evaluation` is ignored and `asof` taken for a rebalance.
    market
        Bars already loaded; cut off after `asof`. None: read as `settings.data` says.
    quotes
        `records.QUOTES` while the session is open: they make its bars (`add_latest`).
    previous
        ticker, weight of the last target; None: of the rebalance before, where it was replayed.
    now
        The present, with a zone; None: the system's.
    console
        Where progress is shown; None: nowhere.

    Raises
    ------
    UsageError
        No session, no bar at `asof`, a setting out of range.
    ForecasterError
        Neither the preferred forecaster nor the fallback gave a score.
    """
    _check_session(TradingCalendar(settings.data.calendar), asof)
    point = _point(settings)
    known = known_market(settings.data, asof, market=market, quotes=quotes, now=now)
    market = known.market.first_tickers(settings.data.max_tickers)
    dates = _replayed_dates(point.strategy, market, settings, asof)
    folder = RunFolder(settings.run.dir, FOLDER)
    chosen = score_with_choice(settings, market, dates, folder=folder, console=console)
    weights = _weights(settings, point, market, chosen, dates)
    today = weights.filter(pl.col("asof") == asof)
    earlier = weights.filter(pl.col("asof") < asof)
    last = earlier.filter(pl.col("asof") == pl.col("asof").max())
    rebalance = today.height > 0
    change_from = None
    if previous is None and earlier.height:
        previous, change_from = last.select("ticker", "weight"), last["asof"][0]
    horizon = getattr(point.strategy, "horizon", None) or max(settings.scoring.horizons)
    scored = chosen.scored
    table = signals_table(
        scored.scores,
        today if rebalance else last.with_columns(asof=pl.lit(asof)),
        market,
        asof,
        horizon=horizon,
        universe=settings.data.universe,
        refused=known.refused,
        previous=previous,
    )
    return Signals(
        asof=asof,
        table=table,
        weights=today,
        rebalance=rebalance,
        closes=_last_closes(market),
        horizon=horizon,
        forecaster=chosen.name,
        fallback_reason=chosen.fallback_reason,
        fingerprint=scored.fingerprint,
        identity=scored.identity,
        config_hash=config_hash(settings),
        model_hash=_model_hash(scored.identity),
        data_hash=market.data_hash,
        drops=_drops(market, chosen, known.drops),
        failed=scored.failed,
        replayed=len(dates),
        change_from=change_from,
    )


def _point(settings: Settings) -> GridPoint:
    if settings.strategy.grid:
        raise UsageError(
            "strategy.grid: signals follow one point of it; give its values as parameters of the "
            "strategy (the backtest's report shows which was chosen for each fold)"
        )
    try:
        check_factors(settings.features)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return grid_points(settings.strategy)[0]


def _weights(
    settings: Settings, point: GridPoint, market: Market, chosen: Chosen, dates: list[date]
) -> pl.DataFrame:
    """asof, ticker, weight at every replayed date."""
    scores = chosen.scored.scores
    if named_model(chosen.name).kind == "scores" and len(dates) > 1:
        # Such files may keep a schedule of their own.
        own = rebalance_dates(scores["asof"], market.calendar, settings.scoring.rebalance)
        dates = sorted({*own, dates[-1]})
    scores = scores.filter(pl.col("asof").is_in(dates))
    if scores.filter(pl.col("asof") == dates[-1], pl.col("status") == "ok").is_empty():
        reasons = chosen.scored.skipped or {"no candidate has a bar": 0}
        raise UsageError(f"--as-of {dates[-1]}: no name can be scored ({', '.join(reasons)})")
    return decide_weights(scores, market, settings, schedule=dates, points=[point]).weights


def _last_closes(market: Market) -> pl.DataFrame:
    last = market.bars.group_by("ticker", maintain_order=True).agg(pl.col("date", "close").last())
    return last.sort("ticker")


def _drops(market: Market, chosen: Chosen, quotes: dict[str, int]) -> dict[str, int]:
    scored = chosen.scored
    return {
        **market.drops,
        **quotes,
        **scored.dropped,
        **{f"window skipped: {reason}": n for reason, n in scored.skipped.items()},
        **{f"window failed: {reason}": n for reason, n in scored.failed.items()},
    }


def config_hash(settings: Settings) -> str:
    """SHA-256 of the settings that can change a weight or an order.

    Left out: names and places of results, what is judged, who is told.
    """
    content = settings.model_dump(
        mode="json",
        exclude={
            "run": {"name", "dir"},
            "evaluation": True,
            **({} if named_model(settings.model.name).kind == "fitted" else {"baselines": True}),
            "live": {"state", "monitor"},
        },
    )
    return _sha256(content)


def _model_hash(identity: dict[str, Any]) -> str:
    """Of the weights where there are any, else of what else the forecaster is."""
    files = {key: value for key, value in identity.items() if key.endswith("_sha256")}
    return _sha256(files or {"forecaster": identity.get("forecaster")})


def _sha256(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _check_session(calendar: TradingCalendar, asof: date) -> None:
    """Raises UsageError naming the session before, where `asof` is none."""
    try:
        calendar.offset(asof, 0)
    except UsageError as error:
        raise UsageError(f"--as-of: {error}") from None


def _is_path_dependent(strategy: Strategy) -> bool:
    """Whether weights of a date may depend on earlier dates: unless the strategy says no."""
    return bool(getattr(strategy, "path_dependent", True))


def _replayed_dates(
    strategy: Strategy, market: Market, settings: Settings, asof: date
) -> list[date]:
    """The rebalances whose scores decide the weights of `asof`, in order, `asof` the last.

    `asof` alone where weights have no memory; else every rebalance session from `strategy.since`
    (null: from the first full window, as a backtest without evaluation.start) and `asof`.

    Raises UsageError where `strategy.since` is later.
    """
    since = settings.strategy.since
    if since is not None and since > asof:
        raise UsageError(f"strategy.since {since} is after --as-of {asof}")
    if not _is_path_dependent(strategy):
        return [asof]
    try:
        earlier = decision_dates(
            market,
            Span(since, asof),
            rebalance=settings.scoring.rebalance,
            lookback=settings.scoring.lookback,
        )
    except UsageError:  # no rebalance session in between: the book begins today
        earlier = []
    return sorted({*earlier, asof})
