"""The dates that have to be scored for the weights of one session."""

from __future__ import annotations

from datetime import date

from engine.calendar import TradingCalendar
from engine.config import Settings
from engine.data.market import Market
from engine.decisions.dates import Span, decision_dates
from engine.errors import UsageError
from strategies import Strategy

__all__ = ["check_session", "is_path_dependent", "replayed_dates"]


def check_session(calendar: TradingCalendar, asof: date) -> None:
    """Raises UsageError naming the session before, where `asof` is none."""
    try:
        calendar.offset(asof, 0)
    except UsageError as error:
        raise UsageError(f"--as-of: {error}") from None


def is_path_dependent(strategy: Strategy) -> bool:
    """Whether weights of a date may depend on earlier dates: unless the strategy says no."""
    return bool(getattr(strategy, "path_dependent", True))


def replayed_dates(
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
    if not is_path_dependent(strategy):
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
