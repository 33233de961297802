"""Guards of the account: a halt, a block, losses, positions that our fills do not explain."""

from __future__ import annotations

from collections.abc import Mapping

from engine.live.brokers.broker import Account, Position
from engine.live.control import Halt
from engine.live.guards.event import GuardEvent, listed, tripped

__all__ = ["account_blocked", "daily_loss", "drawdown", "foreign_positions", "kill_switch"]

_EPSILON = 1e-6


def kill_switch(halt: Halt | None) -> list[GuardEvent]:
    """The halt file is there."""
    if halt is None:
        return []
    return tripped(
        "kill_switch",
        f"halted by {halt.by}: {halt.reason}; python -m engine.live resume goes on",
        persistent=True,
    )


def account_blocked(account: Account) -> list[GuardEvent]:
    """The broker lets the account not trade."""
    return tripped("account_blocked", "the broker blocked the account") if account.blocked else []


def daily_loss(equity: float, reference: float | None, *, limit: float) -> list[GuardEvent]:
    """Equity fell by more than `limit` (a fraction) from the last session's close."""
    return _fell("daily_loss", equity, reference, limit, "the last close's ")


def drawdown(equity: float, peak: float | None, *, limit: float) -> list[GuardEvent]:
    """Equity fell by more than `limit` (a fraction) from its highest."""
    return _fell("drawdown", equity, peak, limit, "its highest, ")


def _fell(
    guard: str, equity: float, start: float | None, limit: float, called: str
) -> list[GuardEvent]:
    if not start or start <= 0 or 1 - equity / start <= limit:
        return []
    return tripped(
        guard,
        f"equity {equity:,.2f} is {1 - equity / start:.1%} below {called}{start:,.2f}; "
        f"live.guards.max_{guard} is {limit:.1%}; python -m engine.live resume goes on",
        persistent=True,
    )


def foreign_positions(
    ours: Mapping[str, Position], brokers: Mapping[str, Position]
) -> list[GuardEvent]:
    """The broker holds another quantity than the state: a trade by hand, a split, a lost fill."""
    differing = {}
    for ticker in sorted({*ours, *brokers}):
        here = ours[ticker].quantity if ticker in ours else 0.0
        there = brokers[ticker].quantity if ticker in brokers else 0.0
        if abs(here - there) > _EPSILON:
            differing[ticker] = f"{ticker} {there:g} instead of {here:g}"
    if not differing:
        return []
    return tripped(
        "positions_differ",
        f"the broker holds {listed(list(differing.values()))}; to take its positions over: "
        "python -m engine.live acknowledge",
        list(differing),
    )
