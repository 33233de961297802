"""Each guard as a table: what it sees, and whether it trips."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from engine.calendar import TradingCalendar
from engine.live import guards
from engine.live.brokers.broker import QUOTES, Account, Asset, Position
from engine.live.control import Halt
from engine.live.orders import plan_orders

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
NAN, INF = float("nan"), float("inf")


def quotes(*rows):
    """(ticker, seconds old, bid, ask)."""
    return pl.DataFrame(
        [(t, NOW - timedelta(seconds=age), bid, ask) for t, age, bid, ask in rows],
        schema=QUOTES,
        orient="row",
    )


def scores(**values):
    return pl.DataFrame(
        {"ticker": list(values), "score": list(values.values())},
        schema={"ticker": pl.String, "score": pl.Float64},
    )


def orders(count, quantity=10.0, price=10.0):
    tickers = [f"T{n}" for n in range(count)]
    return plan_orders(
        {t: quantity * price / 1000.0 for t in tickers},
        session=date(2026, 3, 4),
        plan="p",
        equity=1000.0,
        positions={},
        prices=dict.fromkeys(tickers, price),
        assets={t: Asset(t, True, True, True) for t in tickers},
        whole_shares=True,
        min_order_value=0.0,
        split_crossing=False,
    ).orders


XNYS = TradingCalendar("XNYS")


def stale(last, asof, limit):
    return guards.stale_data(
        date.fromisoformat(last), date.fromisoformat(asof), XNYS, max_age_sessions=limit
    )


def held(**quantities):
    return {t: Position(t, q, 1.0) for t, q in quantities.items()}


def halted(**flags):
    return {t: Asset(t, True, True, True, halted=flag) for t, flag in flags.items()}


def market(hour):
    opens, closes = NOW.replace(hour=14, minute=30), NOW.replace(hour=21)
    return guards.market_closed(NOW.replace(hour=hour), opens, closes)


GOOD = quotes(("A", 5, 9.99, 10.01), ("B", 60, 19.9, 20.1))

# (result, name of the guard, what its explanation says); none: all is well.
CASES = {
    "data of the session": (stale("2026-03-04", "2026-03-04", 0), None, ""),
    "data a session late": (stale("2026-03-03", "2026-03-04", 0), "stale_data", "1 sessions before 2026-03-04"),
    "late over a weekend is one session": (stale("2026-02-27", "2026-03-02", 0), "stale_data", "1 sessions"),
    "a session late and allowed": (stale("2026-03-03", "2026-03-04", 1), None, ""),
    "all bars": (guards.missing_share("AB", "AB", limit=0.0), None, ""),
    "half the bars missing": (guards.missing_share("AB", "A", limit=0.4), "missing_data", "1 of 2 names"),
    "half the bars missing and allowed": (guards.missing_share("AB", "A", limit=0.5), None, ""),
    "no universe": (guards.missing_share([], [], limit=1.0), "missing_data", "0 of 0"),
    "plain scores": (guards.bad_scores(scores(A=0.1, B=-0.2, C=None), max_abs=0.2), None, ""),
    "a NaN": (guards.bad_scores(scores(A=0.1, B=NAN), max_abs=1.0), "bad_scores", "no numbers: B"),
    "an infinity": (guards.bad_scores(scores(A=INF), max_abs=1.0), "bad_scores", "no numbers: A"),
    "a score too large": (guards.bad_scores(scores(A=0.1, B=-1.5), max_abs=1.0), "bad_scores", "B -1.5"),
    "no scores": (guards.bad_scores(scores(A=None), max_abs=1.0), "bad_scores", "no name has a score"),
    "the same configuration": (guards.config_changed("a", "a", set()), None, ""),
    "the first configuration": (guards.config_changed(None, "a", set()), None, ""),
    "another configuration": (guards.config_changed("a", "b", {"c"}), "config_changed", "acknowledge"),
    "another one, acknowledged": (guards.config_changed("a", "b", {"b"}), None, ""),
    "the same model": (guards.model_changed("a", "a", set(), forecaster="nano"), None, ""),
    "another model": (guards.model_changed("a", "b", set(), forecaster="nano"), "model_changed", "nano is another model"),
    "another model, acknowledged": (guards.model_changed("a", "b", {"b"}, forecaster="nano"), None, ""),
    "gross at the limit": (guards.gross_limit({"A": 0.5, "B": -0.5}, limit=1.0), None, ""),
    "gross above the limit": (guards.gross_limit({"A": 0.6, "B": -0.5}, limit=1.0), "gross", "1.1"),
    "name at the limit": (guards.name_limit({"A": -0.25}, limit=0.25), None, ""),
    "name above the limit": (guards.name_limit({"A": -0.26, "B": 0.1}, limit=0.25), "name_weight", "A -0.26"),
    "turnover at the limit": (guards.turnover_limit(orders(4), 1000.0, limit=0.2), None, ""),
    "turnover above the limit": (guards.turnover_limit(orders(5), 1000.0, limit=0.2), "turnover", "0.25 of equity"),
    "no equity": (guards.turnover_limit([], -5.0, limit=0.2), "turnover", "-5.00"),
    "orders at the limit": (guards.order_count(orders(3), limit=3), None, ""),
    "orders above the limit": (guards.order_count(orders(4), limit=3), "order_count", "4 orders"),
    "a small loss": (guards.daily_loss(96.0, 100.0, limit=0.05), None, ""),
    "no close before": (guards.daily_loss(96.0, None, limit=0.05), None, ""),
    "a large loss": (guards.daily_loss(94.0, 100.0, limit=0.05), "daily_loss", "6.0% below"),
    "a small drawdown": (guards.drawdown(81.0, 100.0, limit=0.2), None, ""),
    "a large drawdown": (guards.drawdown(79.0, 100.0, limit=0.2), "drawdown", "21.0% below"),
    "market open": (market(15), None, ""),
    "before the open": (market(14), "market_closed", "14:00:00"),
    "at the close": (market(21), "market_closed", "to 2026-03-04 21:00"),
    "account free": (guards.account_blocked(Account(1.0, 1.0)), None, ""),
    "account blocked": (guards.account_blocked(Account(1.0, 1.0, blocked=True)), "account_blocked", "blocked"),
    "nothing halted": (guards.halted_names(["A"], halted(A=False, B=True)), None, ""),
    "a name halted": (guards.halted_names(["A", "B"], halted(A=False, B=True)), "halted", "halted in B"),
    "the same positions": (guards.foreign_positions(held(A=5), held(A=5 + 1e-9)), None, ""),
    "a trade by hand": (guards.foreign_positions(held(A=5), held(A=4)), "positions_differ", "A 4 instead of 5"),
    "a position by hand": (guards.foreign_positions({}, held(A=4)), "positions_differ", "A 4 instead of 0"),
    "a position gone": (guards.foreign_positions(held(A=4), {}), "positions_differ", "A 0 instead of 4"),
    "quotes for all": (guards.missing_quotes("AB", GOOD, limit=0.0), None, ""),
    "a quote missing": (guards.missing_quotes("ABC", GOOD, limit=0.3), "missing_quotes", "(C)"),
    "a quote missing and allowed": (guards.missing_quotes("ABC", GOOD, limit=0.4), None, ""),
    "a quote without a bid": (guards.missing_quotes("A", quotes(("A", 1, 0.0, 10.0)), limit=0.5), "missing_quotes", "(A)"),
    "quotes of the last minute": (guards.stale_quotes(GOOD, NOW, max_age_s=60), None, ""),
    "an old quote": (guards.stale_quotes(GOOD, NOW, max_age_s=59), "stale_quotes", "B 60 s"),
    "narrow spreads": (guards.wide_spreads(GOOD, max_spread=0.02), None, ""),
    "a wide spread": (guards.wide_spreads(GOOD, max_spread=0.005), "wide_spread", "B 1.00%"),
    "a crossed quote": (guards.wide_spreads(quotes(("A", 1, 10.1, 10.0)), max_spread=0.02), "wide_spread", "A -1.00%"),
    "quotes near the close": (guards.quote_moves(GOOD, {"A": 9.0, "B": 20.0}, max_move=0.3), None, ""),
    "a quote far from the close": (guards.quote_moves(GOOD, {"A": 7.0, "B": 20.0}, max_move=0.3), "quote_move", "A +42.9%"),
    "a quote of half the close": (guards.quote_moves(GOOD, {"A": 20.1}, max_move=0.3), "quote_move", "A -50.2%"),
    "no switch": (guards.kill_switch(None), None, ""),
    "the switch": (guards.kill_switch(Halt("looks odd", "Ada")), "kill_switch", "halted by Ada: looks odd"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_guard(case):
    events, name, said = CASES[case]
    if name is None:
        assert events == []
        return
    assert [event.guard for event in events] == [name]
    assert said in events[0].explanation


def test_every_guard_is_in_the_table():
    functions = {name for name in guards.__all__ if name != "GuardEvent"}
    trips = {name for _, name, _ in CASES.values() if name}
    assert len(trips) == len(functions)


def test_losses_and_the_switch_hold_until_a_person_resumes():
    holding = {e.guard for events, _, _ in CASES.values() for e in events if e.persistent}
    assert holding == {"daily_loss", "drawdown", "kill_switch"}


def test_an_event_about_one_name_carries_it():
    (event,) = guards.wide_spreads(GOOD, max_spread=0.005)
    assert event.ticker == "B"
    (event,) = guards.stale_quotes(GOOD, NOW, max_age_s=1)
    assert event.ticker is None
    assert "A 5 s, B 60 s" in event.explanation
