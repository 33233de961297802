"""The paper broker: fills, costs, waiting, splits, crashes."""

from __future__ import annotations

import math
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from alpaca_stand_in import CALENDAR, DAYS, closing, make_bars, opening
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from backtest.costs import Costs, trade_cost_bps
from engine.config.settings import Settings
from engine.errors import UsageError
from engine.live.brokers.bar_book import BarBook, DataQuotes, fixed_book, settings_books
from engine.live.brokers.broker import BrokerError, Order, OrderRefusedError
from engine.live.brokers.paper.broker import PaperBroker
from engine.live.clock import FileClock

COSTS = Costs(round_trip_bps=10, impact_coefficient=50, borrow_bps_per_year=50, aum=1e6)
HALF_BPS = 2.0


BARS = make_bars()
BOOK = fixed_book(BarBook(BARS, CALENDAR))


def bar(ticker: str, day: date, bars: pl.DataFrame = BARS) -> dict[str, float]:
    return bars.row(by_predicate=(pl.col("ticker") == ticker) & (pl.col("date") == day), named=True)


class World:
    """A paper account of a folder, in a replay's time."""

    def __init__(
        self, folder: Path, bars: pl.DataFrame = BARS, start: datetime | None = None, **changes
    ) -> None:
        self.folder = folder
        self.clock = FileClock(folder / "now.txt", start or opening(DAYS[30]))
        self.books = BOOK if bars is BARS else fixed_book(BarBook(bars, CALENDAR))
        self.given = {"cash": 1e6, "costs": COSTS, **changes}
        self.broker = self.open()

    def open(self, connect=sqlite3.connect) -> PaperBroker:
        return PaperBroker(
            self.folder / "paper.sqlite",
            self.clock,
            DataQuotes(self.books, half_spread_bps=HALF_BPS),
            self.given["costs"],
            CALENDAR,
            cash=self.given["cash"],
            books=self.books,
            connect=connect,
        )


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def expected_fees(mid: float, quantity: float, adv: float, costs: Costs = COSTS) -> float:
    value = mid * quantity
    return value * max(0.0, float(trade_cost_bps(value, adv, costs)) - HALF_BPS) / 1e4


def adv(ticker: str, day: date) -> float:
    before = BARS.filter((pl.col("ticker") == ticker) & (pl.col("date") < day)).tail(20)
    return float(before["amount"].mean())


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
    assert later.last_day("A", DAYS[-1]) == DAYS[-1]
    assert books(opening(DAYS[33])) is later
    late = opening(DAYS[-1] + timedelta(days=4)) + timedelta(minutes=1)
    missing = books(late)
    assert books(late + timedelta(minutes=1)) is missing
    assert books(late + timedelta(minutes=11)) is not missing


ORDERS = st.lists(
    st.tuples(
        st.sampled_from("AB"),
        st.sampled_from(["buy", "sell"]),
        st.one_of(st.integers(1, 500), st.floats(0.01, 300).map(lambda x: round(x, 6))),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=12,
)


def play(world: World, orders, submit) -> PaperBroker:
    """Each order in a moment of its own: at an open, in a session's end, or in the night."""
    broker = world.broker
    for number, (ticker, side, quantity, when) in enumerate(orders):
        day = DAYS[30 + number // 2]
        offset = [timedelta(0), timedelta(hours=6, minutes=10), timedelta(hours=7)][when]
        world.clock.wait_until(opening(day) + offset)
        broker = submit(broker, Order(f"id-{number}", ticker, side, quantity))
    world.clock.wait_until(closing(DAYS[30 + len(orders) // 2 + 1]))
    return broker


@pytest.fixture(scope="session")
def quick_folders() -> Iterator[Callable[[], Path]]:
    """Folders in memory where there are such: hundreds of commits, each written through."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield lambda: Path(tempfile.mkdtemp(dir=folder))


@effort(max_examples=25, deadline=None)
@given(orders=ORDERS)
def test_cash_and_positions_are_those_of_a_plain_loop(quick_folders, orders):
    world = World(quick_folders())

    def submit(broker, order):
        broker.submit(order)
        return broker

    broker = play(world, orders, submit)
    cash, shares, value = 1e6, {"A": 0.0, "B": 0.0}, {}
    account = broker.account()
    last = DAYS[30 + len(orders) // 2 + 1]
    fills = broker.fills(opening(DAYS[0]))
    assert len({fill.client_id for fill in fills}) == len(fills) == len(orders)
    at = 0
    for day in DAYS[30 : DAYS.index(last) + 1]:
        while at < len(fills) and fills[at].ts.date() <= day:
            fill = fills[at]
            row = bar(fill.ticker, day)
            mid = row["open"] if fill.ts == opening(day) else row["close"]
            sign = 1 if fill.side == "buy" else -1
            cash -= sign * fill.quantity * mid * (1 + sign * HALF_BPS / 1e4)
            cash -= expected_fees(mid, fill.quantity, adv(fill.ticker, day))
            shares[fill.ticker] += sign * fill.quantity
            at += 1
        for ticker, held in shares.items():
            value[ticker] = held * bar(ticker, day)["close"]
            cash -= max(0.0, -value[ticker]) * 50 / 1e4 / 252
    held = {ticker: position.quantity for ticker, position in broker.positions().items()}
    assert held == pytest.approx({t: q for t, q in shares.items() if abs(q) > 1e-9})
    assert account.cash == pytest.approx(cash, abs=1e-3)
    assert account.equity == pytest.approx(cash + sum(value.values()), abs=1e-3)


class Crash(BaseException):
    """The process is gone."""


def dying(after: int):
    """Connections whose n-th statement, counted over all of them, never returns."""
    left = [after]

    class Dying(sqlite3.Connection):
        def execute(self, *given):
            left[0] -= 1
            if left[0] == 0:
                raise Crash
            return super().execute(*given)

    return lambda path, **given: sqlite3.connect(path, factory=Dying, **given)


@effort(max_examples=25, deadline=None)
@given(orders=ORDERS, crashes=st.lists(st.integers(1, 60), max_size=8), again=st.integers(1, 3))
def test_crashes_and_repeats_change_nothing(quick_folders, orders, crashes, again):
    plain = World(quick_folders())

    def once(broker, order):
        broker.submit(order)
        return broker

    undisturbed = play(plain, orders, once)
    torn = World(quick_folders())
    pending = list(crashes)

    def submit(broker, order):
        broker.close()
        for _ in range(again):
            while True:
                try:
                    broker = torn.open(dying(pending.pop()) if pending else sqlite3.connect)
                    broker.submit(order)
                    break
                except Crash:
                    pass
                finally:
                    broker.close()  # as death does: what is not committed is gone
        return torn.open()

    disturbed = play(torn, orders, submit)
    assert disturbed.positions() == undisturbed.positions()
    assert disturbed.account() == undisturbed.account()
    assert disturbed.fills(opening(DAYS[0])) == undisturbed.fills(opening(DAYS[0]))
