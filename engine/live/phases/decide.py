"""Deciding: data, scores, target weights, and the guards between them and a plan."""

from __future__ import annotations

import logging
from datetime import date

import polars as pl

from engine.data.market import Market, load_market
from engine.errors import UsageError
from engine.live import guards
from engine.live.context import Context
from engine.live.guards import GuardEvent
from engine.live.orders import plan_hash
from engine.live.schedule import Slot
from engine.live.state import Plan
from engine.signals.compute import Signals, compute_signals, config_hash
from engine.signals.write import write_signals

__all__ = ["decide"]

log = logging.getLogger(__name__)
STRANGER = "not a member of the universe"


def decide(context: Context, slot: Slot) -> None:
    """Make the session's plan: new targets on a rebalance session, else to hold.

    Whatever goes wrong with data or scores halts the cycle, and never the loop.
    """
    session, settings = slot.session.date, context.settings
    frequency = settings.scoring.rebalance
    events: list[GuardEvent] = []
    if context.calendar.rebalances(slot.asof, slot.asof, frequency):
        signals, events = _signals(context, slot)
        if signals is None:
            context.halt(slot, events)
            return
        plan = _plan(context, slot, signals)
        events += _judge(context, slot, signals, plan)
    else:
        plan = _hold(context, slot, config_hash(settings))
        events += _config(context, slot, plan)
    if events:
        context.halt(slot, events)
        return
    with context.state.transaction():
        context.state.plans.record(plan)
        context.mark(slot, "done", plan.kind)
    if plan.kind == "hold":
        context.monitor.tell("plan", f"{session}: hold", session=session, kind="hold")
        return
    gross = sum(map(abs, plan.weights.values()))
    if plan.fallback_reason:
        context.monitor.tell(
            "fallback",
            f"{plan.forecaster} decided in place of {settings.model.name}: {plan.fallback_reason}",
            warning=True,
            session=session,
        )
    context.monitor.tell(
        "plan",
        f"{session}: {len(plan.weights)} names, gross {gross:.3g}, decided on {plan.asof} "
        f"by {plan.forecaster}",
        session=session,
        kind=plan.kind,
        asof=plan.asof,
        forecaster=plan.forecaster,
        fallback_reason=plan.fallback_reason,
        plan_hash=plan.plan_hash,
    )


def _signals(context: Context, slot: Slot) -> tuple[Signals | None, list[GuardEvent]]:
    settings, now = context.settings, context.clock.now()
    try:
        asof, market, quotes = slot.asof, None, None
        if settings.live.schedule.decide == "before_close":
            tickers = _universe(context, slot)
            quotes = context.patience(slot.deadline).ask(lambda: context.broker.quotes(tickers))
            now = context.clock.now()
        else:
            market = _market(context, slot.asof)
            late = guards.stale_data(
                market.last_session,
                slot.asof,
                context.calendar,
                max_age_sessions=context.limits.max_data_age_sessions,
            )
            if late:
                return None, late
            asof = min(asof, market.last_session)
        before = context.state.plans.last_rebalance(slot.session.date)
        previous = None if before is None else before.targets.select("ticker", "weight")
        signals = compute_signals(
            settings,
            asof,
            market=market,
            quotes=quotes,
            previous=previous,
            now=now,
            console=context.console,
        )
        write_signals(signals, settings, previous=None if before is None else before.asof)
    except Exception as error:  # no signals is no trade, and the loop goes on
        if not isinstance(error, UsageError):
            log.exception("no signals")
        reason = " ".join(str(error).split()) or type(error).__name__
        return None, [GuardEvent("no_signals", f"there are no signals: {reason}")]
    return signals, []


def _market(context: Context, asof: date) -> Market:
    data = context.settings.data
    end = asof if data.end is None else min(asof, data.end)
    return load_market(data.model_copy(update={"end": end}), now=context.clock.now())


def _universe(context: Context, slot: Slot) -> list[str]:
    """Whom to ask quotes of: the names asked for, or those of the bars so far."""
    named = context.settings.data.universe
    if named is not None:
        return named
    return _market(context, context.calendar.offset(slot.asof, -1)).tickers


def _plan(context: Context, slot: Slot, signals: Signals) -> Plan:
    if not signals.rebalance:  # the strategy keeps its book on this date
        return _hold(context, slot, signals.config_hash)
    weights = signals.weights.select("ticker", "weight")
    closes = signals.closes.select("ticker", "close")
    targets = closes.join(weights, on="ticker", how="full", coalesce=True)
    targets = targets.with_columns(pl.col("weight").fill_null(0.0)).sort("ticker")
    wanted = {name: weight for name, weight in weights.iter_rows() if weight}
    return Plan(
        session=slot.session.date,
        asof=signals.asof,
        kind="rebalance",
        plan_hash=plan_hash(signals.asof, wanted, signals.config_hash),
        config_hash=signals.config_hash,
        model_hash=signals.model_hash,
        data_hash=signals.data_hash,
        forecaster=signals.forecaster,
        fallback_reason=signals.fallback_reason,
        made=context.clock.now(),
        targets=targets.select("ticker", "weight", "close"),
    )


def _hold(context: Context, slot: Slot, configuration: str) -> Plan:
    nothing = pl.DataFrame(schema={"ticker": pl.String, "weight": pl.Float64, "close": pl.Float64})
    return Plan(
        session=slot.session.date,
        asof=slot.asof,
        kind="hold",
        plan_hash=plan_hash(slot.asof, {}, configuration),
        config_hash=configuration,
        model_hash="",
        data_hash="",
        forecaster="",
        fallback_reason=None,
        made=context.clock.now(),
        targets=nothing,
    )


def _judge(context: Context, slot: Slot, signals: Signals, plan: Plan) -> list[GuardEvent]:
    limits, plans, session = context.limits, context.state.plans, slot.session.date
    closes = signals.closes
    # The table has the names asked for and those that traded lately: not every one that ever did.
    strangers = pl.col("reason") == STRANGER
    expected = signals.table.filter(~strangers.fill_null(False))["ticker"].to_list()
    present = closes.filter(pl.col("date") == signals.asof)["ticker"].to_list()
    events = [
        *guards.missing_share(expected, present, limit=limits.max_missing_share),
        *guards.bad_scores(signals.table.select("ticker", "score"), max_abs=limits.max_abs_score),
        *guards.gross_limit(plan.weights, limit=limits.max_gross),
        *guards.name_limit(plan.weights, limit=limits.max_name_weight),
        *_config(context, slot, plan),
    ]
    if plan.kind == "rebalance":
        last = plans.last_rebalance(session, plan.forecaster)
        changed = guards.model_changed(
            None if last is None else last.model_hash,
            plan.model_hash,
            context.state.cycles.acknowledged("model_hash"),
            forecaster=plan.forecaster,
        )
        if changed:
            context.control.ask({"model_hash": plan.model_hash})
        events += changed
    return events


def _config(context: Context, slot: Slot, plan: Plan) -> list[GuardEvent]:
    last = context.state.plans.last(slot.session.date)
    changed = guards.config_changed(
        None if last is None else last.config_hash,
        plan.config_hash,
        context.state.cycles.acknowledged("config_hash"),
    )
    if changed:
        context.control.ask({"config_hash": plan.config_hash})
    return changed
