"""Losses that end trading until a person looked at them."""

from __future__ import annotations

from engine.live.guards.event import GuardEvent, tripped

__all__ = ["daily_loss", "drawdown"]

_HOW = "python -m engine.live resume goes on"


def daily_loss(equity: float, reference: float | None, *, limit: float) -> list[GuardEvent]:
    """Equity fell by more than `limit` (a fraction) from the last session's close."""
    if not reference or reference <= 0 or 1 - equity / reference <= limit:
        return []
    return tripped(
        "daily_loss",
        f"equity {equity:,.2f} is {1 - equity / reference:.1%} below the last close's "
        f"{reference:,.2f}; live.guards.max_daily_loss is {limit:.1%}; {_HOW}",
        persistent=True,
    )


def drawdown(equity: float, peak: float | None, *, limit: float) -> list[GuardEvent]:
    """Equity fell by more than `limit` (a fraction) from its highest."""
    if not peak or peak <= 0 or 1 - equity / peak <= limit:
        return []
    return tripped(
        "drawdown",
        f"equity {equity:,.2f} is {1 - equity / peak:.1%} below its highest, {peak:,.2f}; "
        f"live.guards.max_drawdown is {limit:.1%}; {_HOW}",
        persistent=True,
    )
