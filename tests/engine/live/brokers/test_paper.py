"""The paper broker: fills, costs, waiting, splits, crashes."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from alpaca_stand_in import CALENDAR, DAYS, closing, make_bars, opening
from paper_world import BARS, COSTS, HALF_BPS, World, adv, bar, expected_fees

from backtest.costs import trade_cost_bps
from engine.config.settings import Settings
from engine.errors import UsageError
from engine.live.brokers.bar_book import BarBook, settings_books
from engine.live.brokers.broker import BrokerError, Order, OrderRefusedError


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def test_a_buy_pays_the_ask_and_the_backtests_costs(world):
    day = DAYS[30]
    report = world.broker.submit(Order("id-1", "A", "buy", 100))
    mid = bar("A", day)["open"]
    ask = mid * (1 + HALF_BPS / 1e4)
    assert (report.status, report.filled) == ("filled", 100)
    assert report.average_price == pytest.approx(ask)
    (fill,) = world.broker.fills(opening(day))
    assert fill.fees == pytest.approx(expected_fees(mid, 100, adv("A", day)), abs=1e-6)
    account = world.broker.account()
    assert account.cash == pytest.approx(1e6 - 100 * ask - fill.fees, abs=1e-5)
    assert account.equity == pytest.approx(account.cash + 100 * mid, abs=1e-5)
    assert world.broker.positions()["A"].quantity == 100
    total_bps = (1e6 - account.equity) / (100 * mid) * 1e4
    assert total_bps == pytest.approx(float(trade_cost_bps(100 * mid, adv("A", day), COSTS)), 1e-4)


def test_the_same_id_is_one_order(world):
    first = world.broker.submit(Order("id-1", "A", "buy", 100))
    assert world.broker.submit(Order("id-1", "A", "buy", 100)) == first
    world.broker.close()
    assert world.open().submit(Order("id-1", "A", "buy", 100)) == first
    assert len(world.open().fills(opening(DAYS[0]))) == 1
    with pytest.raises(BrokerError, match="another order: buy 100 A"):
        world.open().submit(Order("id-1", "A", "buy", 101))


@pytest.mark.parametrize(
    "order",
    [
        Order("x", "NOPE", "buy", 1),
        Order("x", "A", "buy", 0),
        Order("x", "A", "buy", -5),
        Order("x", "A", "buy", math.nan),
        Order("x", "A", "buy", 1e-10),
        Order("x", "A", "sell", 1, limit=0.0),
    ],
)
def test_orders_that_are_not_taken(world, order):
    with pytest.raises(OrderRefusedError):
        world.broker.submit(order)
    assert world.broker.order("x") is None


def test_an_order_of_the_night_is_filled_at_the_open_however_late_one_asks(world):
    night = closing(DAYS[30]) + timedelta(minutes=30)
    world.clock.wait_until(night)
    assert world.broker.submit(Order("id-1", "A", "buy", 10)).status == "accepted"
    assert world.broker.order("id-1").status == "accepted"
    world.clock.wait_until(opening(DAYS[33]))
    report = world.broker.order("id-1")
    assert (report.status, report.updated) == ("filled", opening(DAYS[31]))
    assert report.average_price == pytest.approx(bar("A", DAYS[31])["open"] * (1 + HALF_BPS / 1e4))


def test_a_limit_order_waits_for_its_price_and_expires_at_the_close(world):
    mid = bar("A", DAYS[30])["open"]
    far = Order("far", "A", "buy", 10, limit=mid * 0.5)
    near = Order("near", "A", "sell", 10, limit=mid * 0.99)
    assert world.broker.submit(far).status == "accepted"
    assert world.broker.submit(near).average_price == pytest.approx(mid * (1 - HALF_BPS / 1e4))
    world.clock.wait_until(closing(DAYS[30]))
    assert world.broker.order("far").status == "expired"
    assert world.broker.positions()["A"].quantity == -10


def test_a_limit_order_is_filled_once_the_price_comes(world):
    up = next(d for d in DAYS[31:] if bar("A", d)["close"] > bar("A", d)["open"] * 1.01)
    world.clock.wait_until(opening(up))
    goal = (bar("A", up)["open"] + bar("A", up)["close"]) / 2
    assert world.broker.submit(Order("id", "A", "sell", 10, limit=goal)).status == "accepted"
    world.clock.wait_until(closing(up) - timedelta(minutes=10))
    assert world.broker.order("id").status == "filled"


def test_cancel(world):
    world.clock.wait_until(closing(DAYS[30]))
    world.broker.submit(Order("id", "A", "buy", 10))
    world.broker.cancel("id")
    world.broker.cancel("id")
    world.broker.cancel("never sent")
    world.clock.wait_until(opening(DAYS[31]))
    assert world.broker.order("id").status == "canceled"
    assert world.broker.positions() == {}


def test_shorts_pay_their_loan_at_each_close(world):
    world.broker.submit(Order("id", "A", "sell", 1000))
    cash = world.broker.account().cash
    world.clock.wait_until(opening(DAYS[33]))
    closes = [bar("A", day)["close"] for day in DAYS[30:33]]
    assert world.broker.account().cash == pytest.approx(
        cash - sum(1000 * close * 50 / 1e4 / 252 for close in closes), abs=1e-5
    )


@pytest.mark.parametrize(
    ("ratio", "quantity", "shares"),
    [(2.0, 101, 202), (1.5, 101, 151), (0.1, 101, 10), (0.1, -101, -10), (7.0, -3, -21)],
)
def test_a_split_changes_shares_and_not_wealth(tmp_path, ratio, quantity, shares):
    bars = make_bars()
    later = pl.col("date") >= DAYS[31]
    flat = bars.with_columns(
        pl.when(later).then(40 / ratio).otherwise(40.0).alias("open"),
        pl.when(later).then(40 / ratio).otherwise(40.0).alias("close"),
        pl.when(later).then(ratio).otherwise(1.0).alias("adj_factor"),
    )
    free = replace(COSTS, round_trip_bps=0, impact_coefficient=0, borrow_bps_per_year=0)
    world = World(tmp_path, flat, costs=free)
    world.broker.submit(Order("id", "A", "buy" if quantity > 0 else "sell", abs(quantity)))
    before = world.broker.account()
    world.clock.wait_until(opening(DAYS[32]))
    assert world.broker.positions()["A"].quantity == shares
    assert world.broker.account().equity == pytest.approx(before.equity, abs=1e-4)
    average = world.broker.positions()["A"].average_price
    assert average == pytest.approx(40 / ratio, rel=1e-3)


@pytest.mark.parametrize("quantity", [100, -100])
def test_a_dividend_is_paid_in_cash(tmp_path, quantity):
    bars = make_bars()
    close = bar("A", DAYS[30])["close"]
    ratio = close / (close - 0.5)
    later = pl.col("date") >= DAYS[31]
    world = World(
        tmp_path, bars.with_columns(pl.when(later).then(ratio).otherwise(1.0).alias("adj_factor"))
    )
    world.broker.submit(Order("id", "A", "buy" if quantity > 0 else "sell", 100))
    world.clock.wait_until(closing(DAYS[30]))
    cash = world.broker.account().cash
    world.clock.wait_until(opening(DAYS[31]))
    assert world.broker.account().cash == pytest.approx(cash + quantity * 0.5, abs=1e-5)
    assert world.broker.positions()["A"].quantity == quantity


def test_an_order_that_waited_over_a_split_is_rejected(tmp_path):
    later = pl.col("date") >= DAYS[31]
    bars = make_bars().with_columns(pl.when(later).then(2.0).otherwise(1.0).alias("adj_factor"))
    world = World(tmp_path, bars, start=closing(DAYS[30]))
    world.broker.submit(Order("id", "A", "buy", 10))
    world.clock.wait_until(opening(DAYS[31]))
    report = world.broker.order("id")
    assert report.status == "rejected"
    assert "split 2:1" in report.reason


def test_a_ticker_without_a_bar_is_halted_and_waits(tmp_path):
    gone = (pl.col("ticker") == "A") & (pl.col("date") == DAYS[31])
    world = World(tmp_path, BARS.filter(~gone), start=opening(DAYS[31]))
    assets = world.broker.assets(["A", "B", "NOPE"])
    assert {ticker: asset.halted for ticker, asset in assets.items()} == {"A": True, "B": False}
    assert world.broker.submit(Order("id", "A", "buy", 10)).status == "accepted"
    (row,) = world.broker.quotes(["A"]).rows(named=True)
    assert row["ts"] == closing(DAYS[30])
    world.clock.wait_until(opening(DAYS[32]))
    assert world.broker.order("id").status == "expired"


def test_before_the_open_the_last_close_is_the_quote(world):
    now = opening(DAYS[31]) - timedelta(minutes=30)
    world.clock.wait_until(now)
    (row,) = world.broker.quotes(["A"]).rows(named=True)
    assert row["ts"] == now
    assert (row["bid"] + row["ask"]) / 2 == pytest.approx(bar("A", DAYS[30])["close"])


def test_a_quote_knows_nothing_of_later_bars(tmp_path):
    rng = np.random.default_rng(1)
    cut = DAYS[40]
    noise = BARS.with_columns(
        pl.when(pl.col("date") > cut)
        .then(pl.lit(rng.uniform(1, 99, BARS.height)))
        .otherwise(name)
        .alias(name)
        for name in ("open", "close", "amount", "adj_factor")
    )
    for now in (opening(cut), closing(cut), opening(DAYS[41]) - timedelta(seconds=1)):
        one, other = (BarBook(bars, CALENDAR) for bars in (BARS, noise))
        assert one.price("A", now) == other.price("A", now)
        assert one.average_daily_value("A", now) == other.average_daily_value("A", now)
        assert one.actions("A", DAYS[0], cut) == other.actions("A", DAYS[0], cut)


def test_intraday_bars_price_their_minute(tmp_path):
    starts = CALENDAR.bar_starts(DAYS[30], DAYS[30], 60)
    bars = pl.DataFrame(
        {
            "ts": pl.Series(starts).dt.replace_time_zone("UTC"),
            "date": [DAYS[30]] * len(starts),
            "ticker": ["A"] * len(starts),
            "open": np.arange(len(starts)) + 10.0,
            "close": np.arange(len(starts)) + 10.5,
        }
    )
    book = BarBook(bars, CALENDAR)
    at = opening(DAYS[30]) + timedelta(minutes=90)
    assert book.price("A", at).value == 11.0
    gap = BarBook(bars.filter(pl.col("open") != 11.0), CALENDAR).price("A", at)
    assert (gap.value, gap.ts) == (10.5, opening(DAYS[30]) + timedelta(hours=1))


def test_another_file_is_refused(tmp_path):
    (tmp_path / "paper.sqlite").write_text("not a database, but some text that is long enough")
    with pytest.raises(UsageError, match="not a paper account"):
        World(tmp_path)


def test_an_account_of_later_times_is_refused(tmp_path):
    World(tmp_path, start=opening(DAYS[35])).clock.wait_until(opening(DAYS[36]))
    World(tmp_path).broker.account()
    (tmp_path / "now.txt").unlink()
    with pytest.raises(UsageError, match="account of its own"):
        World(tmp_path, start=opening(DAYS[35]))


def test_bars_are_read_again_only_when_there_may_be_more(tmp_path):
    path = tmp_path / "bars.parquet"
    full = BARS.with_columns(high=pl.max_horizontal("open", "close"), low=1.0, volume=1e5)
    full = full.with_columns(pl.min_horizontal("open", "close").alias("low"))
    data = {"source": "parquet", "path": path}
    full.filter(pl.col("date") <= DAYS[30]).write_parquet(path)
    books = settings_books(Settings(data=data))
    night = closing(DAYS[30]) + timedelta(minutes=1)
    first = books(night)
    assert books(night + timedelta(hours=3)) is first
    full.write_parquet(path)
    later = books(opening(DAYS[31]))
    last = closing(DAYS[-1])
    assert later.price("A", last).ts == last
    assert books(opening(DAYS[33])) is later
    late = opening(DAYS[-1] + timedelta(days=4)) + timedelta(minutes=1)
    missing = books(late)
    assert books(late + timedelta(minutes=1)) is missing
    assert books(late + timedelta(minutes=11)) is not missing
