"""Trading: from a plan to orders that are filled, or to a reason why not."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from engine.live import guards
from engine.live.context import Context
from engine.live.execute import HaltedError
from engine.live.guards import GuardEvent
from engine.live.orders import OrderPlan, OrderRecord, plan_orders
from engine.live.phases.account import look
from engine.live.schedule import Slot
from engine.live.state import Plan

__all__ = ["finish", "trade"]


def trade(context: Context, slot: Slot) -> None:
    """Plan the session's orders once, write them down, and have them executed.

    Orders written down before a crash are gone on with as they are. A guard that trips ends the
    phase; what was filled until then stays.
    """
    session = slot.session.date
    plan = context.state.plans.of(session)
    if plan is None:
        events = [GuardEvent("no_plan", f"there is no plan for {session}; positions stay")]
        context.halt(slot, events)
        return
    if plan.kind == "hold":
        context.mark(slot, "done", "hold")
        return
    if not context.state.orders.of(session):
        found, events = _orders(context, slot, plan)
        if events:
            context.halt(slot, events)
            return
        if not context.send:
            _show(context, slot, found)
            return
        with context.state.transaction():
            context.state.orders.plan(found.orders, context.clock.now())
            context.state.plans.record_left_out(session, found.left_out)
    if not context.send:
        context.mark(slot, "dry_run", "orders of this session wait for --send-orders")
        return
    try:
        context.executor(slot).run(session)
    except HaltedError as halted:
        context.halt(slot, halted.events)
        return
    records = context.state.orders.of(session)
    context.mark(slot, "done", _summary(records))
    context.monitor.tell(
        "orders",
        f"{session}: {_summary(records)}",
        session=session,
        left_out=context.state.plans.left_out(session),
    )


def finish(context: Context, slot: Slot) -> None:
    """Cancel what is still open before the close, and end what was never sent."""
    session = slot.session.date
    context.executor(slot).finish(session)
    records = context.state.orders.of(session)
    context.mark(slot, "done", _summary(records) if records else "")


def _orders(context: Context, slot: Slot, plan: Plan) -> tuple[OrderPlan, list[GuardEvent]]:
    """The orders of a plan at the quotes of now, and the guards that stand against them."""
    nothing = OrderPlan([], {})
    account, events = look(context, slot)
    events += context.gate(slot)
    if events:
        return nothing, events
    positions = context.state.holdings.positions()
    tickers = sorted({*plan.weights, *positions})
    patience, limits = context.patience(slot.deadline), context.limits
    assets = patience.ask(lambda: context.broker.assets(tickers))
    quotes = patience.ask(lambda: context.broker.quotes(tickers))
    events = guards.missing_quotes(tickers, quotes, limit=limits.max_missing_share)
    if events:
        return nothing, events
    found = plan_orders(
        plan.weights,
        session=slot.session.date,
        plan=plan.plan_hash,
        equity=account.equity,
        positions=positions,
        prices=_mids(quotes),
        assets=assets,
        whole_shares=limits.whole_shares,
        min_order_value=limits.min_order_value,
        split_crossing=context.broker.name != "paper",
    )
    traded = {planned.order.ticker for planned in found.orders}
    used = quotes.filter(pl.col("ticker").is_in(traded))
    return found, [
        *guards.halted_names(traded, assets),
        *guards.stale_quotes(used, context.clock.now(), max_age_s=limits.max_quote_age_s),
        *guards.wide_spreads(used, max_spread=limits.max_spread),
        *guards.quote_moves(used, plan.closes, max_move=limits.max_quote_move),
        *guards.turnover_limit(found.orders, account.equity, limit=limits.max_turnover),
        *guards.order_count(found.orders, limit=limits.max_orders),
    ]


def _mids(quotes: pl.DataFrame) -> dict[str, float]:
    good = quotes.filter((pl.col("bid") > 0) & (pl.col("ask") > 0))
    mid = (good["bid"] + good["ask"]) / 2
    return dict(zip(good["ticker"], mid, strict=True))


def _show(context: Context, slot: Slot, found: OrderPlan) -> None:
    """A dry run: what would be sent."""
    context.mark(slot, "dry_run", f"{len(found.orders)} orders")
    context.state.plans.record_left_out(slot.session.date, found.left_out)
    lines = [
        f"  {planned.order.side:4} {planned.order.quantity:>12,g} {planned.order.ticker:8} "
        f"at about {planned.reference:,.2f}"
        for planned in found.orders
    ]
    lines += [f"  left out {name}: {why}" for name, why in found.left_out.items()]
    context.monitor.tell(
        "dry_run",
        "\n".join([f"{slot.session.date}: {len(found.orders)} orders, not sent (dry run)", *lines]),
        session=slot.session.date,
    )


def _summary(records: Sequence[OrderRecord]) -> str:
    counts: dict[str, int] = {}
    for record in records:
        counts[record.status] = counts.get(record.status, 0) + 1
    listed = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{len(records)} orders ({listed})" if records else "nothing to trade"
