"""From the close to filled orders, and every guard in between."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest
from live_world import MINUTE, SESSION, TICKERS, World, make_bars

from engine.live.brokers.broker import Account
from engine.signals.compute import compute_signals

NEXT = date(2024, 6, 5)


def test_a_session_from_decision_to_review(world):
    assert world.do("decide") == "done"
    plan = world.state.plans.of(SESSION)
    expected = compute_signals(world.settings, date(2024, 6, 3)).weights
    assert plan.weights == {t: w for t, w in expected.select("ticker", "weight").iter_rows() if w}
    assert plan.asof == date(2024, 6, 3)
    assert (world.do("check"), world.do("trade")) == ("done", "done")
    equity = 100_000.0
    prices = world.opens(SESSION)
    wanted = {t: int(w * equity / prices[t]) for t, w in plan.weights.items()}
    assert {t: q for t, q in world.desk.held.items() if q} == wanted
    assert len(world.orders()) == 4
    assert (world.do("finish"), world.do("review")) == ("done", "done")
    held = {t: p.quantity for t, p in world.state.holdings.positions().items()}
    assert held == wanted
    assert world.state.holdings.equity()["phase"].to_list() == ["check", "trade", "review"]
    assert world.guards() == set()


def test_between_rebalances_nothing_is_traded(tmp_path, data):
    world = World(tmp_path, data, **{"scoring.rebalance": "weekly"})
    assert world.do("decide") == "done"
    assert world.state.plans.of(SESSION).kind == "hold"
    assert (world.do("check"), world.do("trade")) == ("done", "done")
    assert world.orders() == []


def test_a_dry_run_shows_orders_and_sends_none(tmp_path, data):
    world = World(tmp_path, data, send=False)
    world.do("decide")
    world.do("check")
    assert world.do("trade") == "dry_run"
    assert world.orders() == []
    assert world.state.orders.of(SESSION) == []
    assert "4 orders, not sent (dry run)" in world.said.getvalue()


DECIDE = {
    "stale_data": ({}, lambda bars: bars.filter(pl.col("date") < date(2024, 6, 3))),
    "missing_data": ({"live.guards.max_missing_share": "0.1"}, lambda bars: bars.filter((pl.col("date") != date(2024, 6, 3)) | (pl.col("ticker") != "T1"))),
    "bad_scores": ({"live.guards.max_abs_score": "0.0001"}, None),
    "gross": ({"live.guards.max_gross": "0.9"}, None),
    "name_weight": ({"live.guards.max_name_weight": "0.2"}, None),
    "no_signals": ({"data.universe": "[T1, NOBODY]"}, None),
}  # fmt: skip


@pytest.mark.parametrize("guard", DECIDE)
def test_a_guard_of_data_or_scores_leaves_no_plan_and_no_order(tmp_path, data, guard):
    flags, change = DECIDE[guard]
    if change is not None:
        data = tmp_path / "bars.parquet"
        change(make_bars()).write_parquet(data)
    world = World(tmp_path, data, **flags)
    assert world.do("decide") == "halted"
    assert world.guards() == {guard}
    world.do("check")
    assert world.do("trade") == "halted"
    assert world.guards() == {guard, "no_plan"}
    assert world.orders() == []


def test_data_that_come_late_are_asked_for_again_before_the_open(tmp_path):
    path = tmp_path / "bars.parquet"
    make_bars().filter(pl.col("date") < date(2024, 6, 3)).write_parquet(path)
    world = World(tmp_path, path)
    assert world.do("decide") == "halted"
    make_bars().write_parquet(path)
    world.bars = make_bars()
    world.desk.prices = world.opens(SESSION)
    assert world.do("check") == "done"
    assert world.mark("decide") == "done"
    assert world.do("trade") == "done"
    assert len(world.orders()) == 4


@pytest.mark.parametrize("what", ["config", "model"])
def test_a_change_waits_for_an_acknowledgement(tmp_path, data, what):
    world = World(tmp_path, data)
    for phase in ("decide", "check", "trade", "finish", "review"):
        world.do(phase)
    first = len(world.orders())
    again = World(tmp_path, data, **({"strategy.quantile": "0.3"} if what == "config" else {}))
    again.state, again.desk = world.state, world.desk
    again.desk.clock = again.clock
    object.__setattr__(again.context, "state", world.state)
    object.__setattr__(again.context, "broker", world.desk)
    again.clock.wait_until(world.clock.now())
    if what == "model":
        world.state._database.execute("UPDATE plans SET model_hash = 'another'")
    assert again.do("decide", NEXT) == "halted"
    assert again.guards(NEXT) == {f"{what}_changed"}
    assert again.do("trade", NEXT) == "halted"
    assert len(world.orders()) == first
    assert list(again.control.acknowledge()) == [f"{what}_hash"]
    again.clock.wait_until(again.clock.now() + MINUTE)
    again.desk.prices = again.opens(NEXT)
    for phase in ("decide", "trade"):
        assert not again.loop._over(again.slot(phase, NEXT))
        assert again.do(phase, NEXT) == "done"
    assert again.control.pending() == {}


def break_kill(world):
    world.control.halt("looks odd", "Ada")


def break_account(world):
    world.desk.blocked = True


def break_positions(world):
    world.state.holdings.adopt({}, world.clock.now())
    world.desk.held["T1"] = 5


def break_names(world):
    plan = world.state.plans.of(SESSION)
    world.desk.halted = {next(iter(plan.weights))}


def break_quotes(world):
    world.desk.prices = {"T0": 50.0}


def break_age(world):
    world.desk.quote_age = timedelta(seconds=61)


def break_spread(world):
    world.desk.spread = 0.03


def break_price(world):
    world.desk.prices = {t: 2 * p for t, p in world.desk.prices.items()}


def break_day(world):
    world.state.holdings.record_equity(
        date(2024, 6, 3), "review", Account(110_000.0, 0.0), world.clock.now()
    )


def break_peak(world):
    world.state.holdings.record_equity(
        date(2024, 5, 1), "check", Account(130_000.0, 0.0), world.clock.now()
    )


def break_clock(world):
    world.clock.time = world.slot("trade").session.open - MINUTE


def break_nothing(world):
    pass


TRADE = {
    "kill_switch": (break_kill, {}),
    "account_blocked": (break_account, {}),
    "positions_differ": (break_positions, {}),
    "halted": (break_names, {}),
    "missing_quotes": (break_quotes, {}),
    "stale_quotes": (break_age, {}),
    "wide_spread": (break_spread, {}),
    "quote_move": (break_price, {}),
    "turnover": (break_nothing, {"live.guards.max_turnover": "0.4"}),
    "order_count": (break_nothing, {"live.guards.max_orders": "3"}),
    "daily_loss": (break_day, {}),
    "drawdown": (break_peak, {"live.guards.max_daily_loss": "1.0"}),
    "market_closed": (break_clock, {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def planned(data, tmp_path_factory):
    """The session's plan, decided once for all the cases."""
    world = World(tmp_path_factory.mktemp("planned"), data)
    world.do("decide")
    return world.state.plans.of(SESSION)


def traded_with(guard, folder, data, planned):
    """A world whose trade phase met what trips a guard, and that phase's slot."""
    broken, flags = TRADE[guard]
    world = World(folder, data, **flags)
    world.state.plans.record(planned)
    slot = world.slot("trade")
    world.clock.wait_until(slot.due)
    broken(world)
    world.loop._do(slot)
    return world, slot


@pytest.mark.parametrize("guard", TRADE)
def test_no_order_goes_out_while_a_guard_is_tripped(tmp_path, data, planned, guard):
    world, _ = traded_with(guard, tmp_path, data, planned)
    assert world.mark("trade") == "halted"
    assert guard in world.guards()
    assert world.orders() == []
    assert world.state.orders.of(SESSION) == []


@pytest.mark.parametrize("guard", ["daily_loss", "drawdown", "kill_switch"])
def test_losses_and_the_switch_hold_until_resume(tmp_path, data, planned, guard):
    world, slot = traded_with(guard, tmp_path, data, planned)
    assert world.control.halted() is not None
    assert world.loop._over(slot)
    world.control.resume()
    world.clock.wait_until(world.clock.now() + MINUTE)
    assert not world.loop._over(slot)
    assert world.do("trade") == "done"
    assert len(world.orders()) == 4


def test_positions_of_another_hand_are_taken_over_when_acknowledged(tmp_path, data, planned):
    world = World(tmp_path, data)
    world.state.plans.record(planned)
    slot = world.slot("trade")
    world.clock.wait_until(slot.due)
    break_positions(world)
    world.loop._do(slot)
    assert world.mark("trade") == "halted"
    world.control.acknowledge()
    world.clock.wait_until(world.clock.now() + MINUTE)
    assert not world.loop._over(slot)
    assert world.state.holdings.positions()["T1"].quantity == 5
    assert world.do("trade") == "done"


def test_the_switch_between_two_orders_stops_the_second(tmp_path, data, planned):
    world = World(tmp_path, data)
    world.state.plans.record(planned)
    slot = world.slot("trade")
    world.clock.wait_until(slot.due)
    world.desk.after = lambda name: (
        world.control.halt("enough", "Ada") if name == "submit" else None
    )
    world.loop._do(slot)
    assert len(world.orders()) == 1
    assert world.mark("trade") == "halted"
    assert "kill_switch" in world.guards()


def test_before_the_close_quotes_decide(tmp_path, data):
    world = World(tmp_path, data, **{"live.schedule.decide": "before_close"})
    world.desk.prices = {t: p * 1.01 for t, p in world.opens(SESSION).items()}
    assert world.do("check") == "done"
    assert world.do("decide") == "done"
    plan = world.state.plans.of(SESSION)
    assert plan.asof == SESSION
    mids = {t: pytest.approx(world.desk.prices[t], rel=1e-9) for t in TICKERS}
    assert plan.closes == mids
    assert world.do("trade") == "done"
    assert len(world.orders()) == 4
    assert world.clock.now() < world.slot("trade").session.close
