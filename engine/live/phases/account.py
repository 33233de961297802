"""Looking at the account: before the open, before trading, and after the close."""

from __future__ import annotations

import logging
from datetime import datetime

import polars as pl

from engine.errors import UsageError
from engine.live import guards
from engine.live.brokers.broker import Account
from engine.live.context import Context
from engine.live.guards import GuardEvent
from engine.live.phases.decide import decide
from engine.live.schedule import Slot

__all__ = ["check", "look", "review"]

log = logging.getLogger(__name__)
LATE_DATA = {"stale_data", "missing_data", "no_signals"}


def check(context: Context, slot: Slot) -> None:
    """Whether the account can be traded, and a second try where data came too late to decide."""
    _decide_again(context, slot)
    _, events = look(context, slot)
    events += guards.kill_switch(context.control.halted())
    if events:
        context.halt(slot, events)
    else:
        context.mark(slot, "done")


def review(context: Context, slot: Slot) -> None:
    """Equity after the close, and the page of the day."""
    account, events = look(context, slot)
    positions = context.state.holdings.positions()
    filled = len(context.state.orders.fills(slot.session.date))
    _write_page(context, slot)
    if events:
        context.halt(slot, events)
    else:
        context.mark(slot, "done")
    context.monitor.tell(
        "review",
        f"{slot.session.date}: equity {account.equity:,.2f}, cash {account.cash:,.2f}, "
        f"{len(positions)} positions, {filled} fills",
        session=slot.session.date,
        equity=account.equity,
        cash=account.cash,
        positions={name: held.quantity for name, held in positions.items()},
    )


def look(context: Context, slot: Slot) -> tuple[Account, list[GuardEvent]]:
    """The account, recorded, with what guards say of it and of the broker's positions.

    What the broker holds at the very first look is taken over. Raises LateError while the broker
    does not answer.
    """
    patience, holdings = context.patience(slot.deadline), context.state.holdings
    context.executor(slot).settle()
    account = patience.ask(context.broker.account)
    positions = patience.ask(context.broker.positions)
    now = context.clock.now()
    if not holdings.adopted:
        holdings.adopt(positions, now)
        if positions:
            context.monitor.tell(
                "adopted", f"positions taken over from the broker: {', '.join(positions)}"
            )
    differing = guards.foreign_positions(holdings.positions(), positions)
    if differing:
        held = {p.ticker: [p.quantity, p.average_price] for p in positions.values()}
        context.control.ask({"positions": held})
    events = [
        *guards.account_blocked(account),
        *differing,
        *_losses(context, slot, account),
    ]
    holdings.record_equity(slot.session.date, slot.phase, account, now)
    return account, events


def _losses(context: Context, slot: Slot, account: Account) -> list[GuardEvent]:
    """Judged from the last `resume` on, so that what a person has seen does not trip again."""
    limits = context.limits
    history = context.state.holdings.equity()
    resumed: datetime | None = context.state.cycles.last_command("resume")
    if resumed is not None:
        history = history.filter(pl.col("ts") >= resumed)
    closes = history.filter((pl.col("phase") == "review") & (pl.col("session") < slot.session.date))
    peak = history["equity"].max()
    return [
        *guards.daily_loss(
            account.equity,
            closes["equity"][-1] if closes.height else None,
            limit=limits.max_daily_loss,
        ),
        *guards.drawdown(
            account.equity,
            peak if isinstance(peak, float) else None,
            limit=limits.max_drawdown,
        ),
    ]


def _decide_again(context: Context, slot: Slot) -> None:
    """Once more, if what stopped the decision was that data had not arrived."""
    session = slot.session.date
    mark = context.state.cycles.marks(session).get("decide")
    if mark is None or mark.status != "halted":
        return
    last = [
        event.guard for phase, event in context.state.cycles.guards(session) if phase == "decide"
    ]
    after_close = context.settings.live.schedule.decide == "after_close"
    if after_close and set(last) <= LATE_DATA:
        decide(context, Slot("decide", slot.session, slot.asof, slot.due, slot.deadline))


def _write_page(context: Context, slot: Slot) -> None:
    """Write it and tell its alerts. A page that cannot be written is told of, and no more."""
    from engine.live.page import write_daily_page

    session = slot.session.date
    try:
        path, found = write_daily_page(context.settings, session, context.state.orders.all_fills())
    except Exception as error:  # the account is looked at with or without a page
        if not isinstance(error, UsageError):
            log.exception("no daily page")
        reason = " ".join(str(error).split()) or type(error).__name__
        context.monitor.tell("page", f"no page of {session}: {reason}", warning=True)
        return
    log.info("daily page %s", path)
    for alert in found.alerts:
        context.monitor.tell("alert", alert, warning=True, session=session)
