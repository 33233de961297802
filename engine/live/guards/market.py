"""A market, a name or an account that does not trade now."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from engine.live.brokers.records import Account, Asset
from engine.live.guards.event import GuardEvent, listed, tripped

__all__ = ["account_blocked", "halted_names", "market_closed"]


def market_closed(now: datetime, opens: datetime, closes: datetime) -> list[GuardEvent]:
    """`now` is not in the session."""
    if opens <= now < closes:
        return []
    return tripped(
        "market_closed",
        f"it is {now:%Y-%m-%d %H:%M:%S} UTC; the session is from {opens:%Y-%m-%d %H:%M} "
        f"to {closes:%Y-%m-%d %H:%M} UTC",
    )


def halted_names(tickers: Collection[str], assets: Mapping[str, Asset]) -> list[GuardEvent]:
    """A name that is to be traded is halted."""
    halted = sorted(name for name in tickers if name in assets and assets[name].halted)
    if not halted:
        return []
    return tripped("halted", f"trading is halted in {listed(halted)}", halted)


def account_blocked(account: Account) -> list[GuardEvent]:
    """The broker lets the account not trade."""
    return tripped("account_blocked", "the broker blocked the account") if account.blocked else []
