from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from engine.data.source import ACTIONS, MEMBERS
from engine.data.sources.embedded import EmbeddedSource
from engine.data.store import PriceStore
from engine.data.store.writer import Delivery, StoreWriter
from engine.errors import UsageError
from engine.scoring.price_array import PriceArray

START = date(2018, 1, 2)


@pytest.fixture(scope="module")
def market(tmp_path_factory, make_bars):
    """A, B, C from 2019 to 2020 with random factors; C has gaps and begins late."""
    bars = make_bars(
        {
            "A": (date(2019, 1, 2), date(2020, 12, 31)),
            "B": (date(2019, 1, 2), date(2020, 6, 30)),
            "C": (date(2020, 1, 2), date(2020, 12, 31)),
        }
    )
    rng = np.random.default_rng(1)
    steps = np.where(rng.random(bars.height) < 0.02, rng.uniform(0.5, 2, bars.height), 1.0)
    factor = pl.Series(np.cumprod(steps))
    bars = bars.with_columns(adj_factor=factor)
    return bars.filter((pl.col("ticker") != "C") | (pl.col("date").dt.weekday() != 3))


def opened(folder, bars: pl.DataFrame, **given) -> PriceStore:
    path = folder / "prices.duckdb"
    rows = bars.with_columns(source=pl.lit("test"))
    with StoreWriter.open(path) as writer:
        writer.add(Delivery("test", "test", "h", batches=[rows], **given))
    return PriceStore.open(path)


@pytest.fixture(scope="module")
def store(market, tmp_path_factory):
    return opened(tmp_path_factory.mktemp("store"), market)


def acts(*rows) -> pl.DataFrame:
    return pl.DataFrame([(*row, False) for row in rows], schema=ACTIONS, orient="row")


class TestBars:
    def test_only_what_is_asked_for(self, store, market):
        got = store.bars(["A", "C"], date(2019, 12, 30), date(2020, 1, 10), adjusted=False)
        wanted = market.filter(
            pl.col("ticker").is_in(["A", "C"]),
            pl.col("date").is_between(date(2019, 12, 30), date(2020, 1, 10)),
        )
        assert got.equals(wanted.select(got.columns))
        assert store.bars([], None, None).is_empty()

    def test_adjusted_is_price_times_recorded_factor(self, store, market):
        got = store.bars()
        assert got["close"].to_list() == pytest.approx(
            (market["close"] * market["adj_factor"]).to_list()
        )
        assert got["amount"].to_list() == market["amount"].to_list()
        assert set(got["adj_factor"]) == {1.0}

    def test_asof_is_in_the_money_of_the_last_bar(self, store, market):
        end = date(2020, 3, 31)
        got = store.bars(["A"], end=end, adjusted="asof")
        raw = market.filter(pl.col("ticker") == "A", pl.col("date") <= end)
        assert got["close"][-1] == raw["close"][-1]
        ratio = raw["adj_factor"] / raw["adj_factor"][-1]
        assert got["close"].to_list() == pytest.approx((raw["close"] * ratio).to_list())
        assert (got["close"] * got["volume"]).to_list() == pytest.approx(
            (raw["close"] * raw["volume"]).to_list()
        )


class TestActions:
    def test_a_split_and_a_dividend_by_hand(self, tmp_path, rows_of):
        rows = rows_of("A", sessions=4).with_columns(
            close=pl.Series([100.0, 50.0, 40.0, 40.0]), high=200.0, low=1.0, open=50.0,
            amount=pl.lit(None, pl.Float64), adj_factor=1.0,
        )  # fmt: skip
        days = rows["date"]
        actions = acts(("A", days[1], "split", 2.0), ("A", days[3], "dividend", 4.0))
        store = opened(tmp_path, rows, actions=actions)
        # The dividend of 4 after a close of 40: a factor of 0.9 before it.
        assert store.bars()["close"].to_list() == pytest.approx([45.0, 45.0, 36.0, 40.0])
        asof = store.bars(end=days[2], adjusted="asof")
        assert asof["close"].to_list() == pytest.approx([50.0, 50.0, 40.0])
        assert asof["volume"].to_list() == pytest.approx([200.0, 200.0, 300.0])
        assert store.bars(adjusted=False)["close"].to_list() == [100.0, 50.0, 40.0, 40.0]

    def test_actions_in_the_prices_or_beside_recorded_factors_change_nothing(
        self, tmp_path, market
    ):
        day = date(2020, 3, 2)
        actions = acts(("A", day, "split", 2.0))
        assert (
            opened(tmp_path / "a", market, actions=actions)
            .bars()
            .equals(opened(tmp_path / "b", market).bars())
        )
        plain = market.with_columns(adj_factor=1.0)
        known = actions.with_columns(in_prices=pl.lit(True))
        assert opened(tmp_path / "c", plain, actions=known).bars()["close"].equals(plain["close"])

    def test_real_splits_leave_no_jump_once_they_are_actions(self, tmp_path):
        raw = EmbeddedSource().fetch(["AAPL", "MSFT"]).bars.with_columns(adj_factor=1.0)
        splits = acts(
            ("AAPL", date(2000, 6, 21), "split", 2.0),
            ("AAPL", date(2005, 2, 28), "split", 2.0),
            ("MSFT", date(2003, 2, 18), "split", 2.0),
        )
        store = opened(tmp_path, raw.drop("source"), actions=splits)
        returns = store.bars().with_columns(change=pl.col("close").pct_change().over("ticker"))
        on_days = returns.join(splits, on=["ticker", "date"], how="semi")
        assert on_days.height == 3
        assert on_days["change"].abs().max() < 0.3
        unadjusted = store.bars(adjusted=False).with_columns(
            change=pl.col("close").pct_change().over("ticker")
        )
        assert (
            unadjusted.join(splits, on=["ticker", "date"], how="semi")["change"].abs().min() > 0.3
        )


class TestWindow:
    def test_the_last_sessions(self, store, market):
        window = store.window("A", date(2020, 3, 1), 5, adjusted=False)  # a Sunday
        assert window.bars["date"].to_list() == [date(2020, 2, day) for day in (24, 25, 26, 27, 28)]
        assert window.shortfall == 0

    def test_a_shortfall_is_stated(self, store):
        window = store.window("C", date(2020, 1, 10), 10)
        assert window.missing == [
            date(2019, 12, 27), date(2019, 12, 30), date(2019, 12, 31), date(2020, 1, 8),
        ]  # fmt: skip
        assert window.bars.height + window.shortfall == 10
        assert store.window("Z", date(2020, 1, 10), 3).shortfall == 3

    @pytest.mark.parametrize("lookback", [0, -1])
    def test_a_lookback_below_one(self, store, lookback):
        with pytest.raises(UsageError, match="lookback is"):
            store.window("A", date(2020, 1, 10), lookback)

    def test_of_intraday_bars(self, tmp_path, nyse):
        starts = nyse.bar_starts(date(2024, 7, 2), date(2024, 7, 5), 5)
        bars = five_minutes(starts)
        store = opened(tmp_path, bars.filter(pl.col("ts") != bars["ts"][80]))
        window = store.window("A", datetime(2024, 7, 3, 13, 42, tzinfo=UTC), 4)
        assert window.bars["ts"].dt.strftime("%d %H:%M").to_list() == [
            "02 19:55",
            "03 13:30",
            "03 13:35",
        ]
        assert [time.strftime("%d %H:%M") for time in window.missing] == ["03 13:40"]
        # A date means through its session; that of 3 July closes at 13:00 New York time.
        through = store.window("A", date(2024, 7, 3), 1)
        assert through.bars["ts"].dt.strftime("%d %H:%M").to_list() == ["03 16:55"]


def five_minutes(starts: np.ndarray, ticker: str = "A") -> pl.DataFrame:
    close = 100 + np.arange(len(starts)) * 0.01
    return pl.DataFrame({"ts": starts, "ticker": ticker, "open": close, "high": close + 1, "low": close - 1, "close": close}).with_columns(
        ts=pl.col("ts").dt.replace_time_zone("UTC"), date=pl.col("ts").dt.date(),
        volume=10.0, amount=pl.lit(None, pl.Float64), adj_factor=1.0,
    ).select("ts", "date", "ticker", "open", "high", "low", "close", "volume", "amount", "adj_factor")  # fmt: skip


class TestPanel:
    ASOFS = (date(2020, 3, 31), date(2020, 5, 29), date(2020, 12, 31))

    def test_is_what_scoring_cuts_from_the_same_bars(self, store, market):
        panel = store.panel(self.ASOFS, 60)
        prices = PriceArray.from_bars(market)
        assert panel.values.shape == (3, 3, 60, 6)
        compared = 0
        for a, asof in enumerate(self.ASOFS):
            for n in range(len(panel.tickers)):
                rows = np.flatnonzero(
                    prices.dates[prices.offsets[n] : prices.offsets[n + 1]] == np.datetime64(asof)
                )
                if len(rows) and panel.mask[a, n].all():
                    wanted = prices.window(int(prices.offsets[n] + rows[0]), 60)
                    # Scoring rounds the steps between factors; both end within float32.
                    np.testing.assert_allclose(panel.values[a, n], wanted, rtol=3e-7)
                    compared += 1
        assert compared == 5  # A three times and B twice: C has gaps, and B ended in June

    def test_mask_and_values_say_where_there_is_no_bar(self, store, market):
        panel = store.panel(self.ASOFS, 60)
        assert np.isnan(panel.values).any(axis=3).tolist() == (~panel.mask).tolist()
        held = set(market.select("ticker", "date").iter_rows())
        for a in range(3):
            for n, ticker in enumerate(panel.tickers):
                days = panel.sessions[a].tolist()
                assert panel.mask[a, n].tolist() == [(ticker, day) in held for day in days]

    def test_agrees_with_window(self, store):
        panel = store.panel(self.ASOFS, 40, tickers=["C", "Z"])
        assert panel.tickers == ("C", "Z")
        assert not panel.mask[:, 1].any()
        for a, asof in enumerate(self.ASOFS):
            window = store.window("C", asof, 40).bars
            got = panel.values[a, 0][panel.mask[a, 0]]
            wanted = window.select("open", "high", "low", "close", "volume", "amount").to_numpy()
            np.testing.assert_allclose(got, wanted, rtol=1e-6)

    def test_errors(self, store):
        with pytest.raises(UsageError, match="2020-03-01 is not a session"):
            store.panel([date(2020, 3, 1), date(2020, 3, 31)], 5)
        with pytest.raises(UsageError, match="at least one asof"):
            store.panel([], 5)


class TestUniverse:
    MEMBERS = pl.DataFrame(
        [("A", date(2019, 6, 3), None), ("B", date(2019, 1, 2), date(2020, 1, 31)), ("B", date(2020, 4, 1), None)],
        schema=MEMBERS, orient="row",
    )  # fmt: skip

    @pytest.mark.parametrize(
        ("asof", "expected"),
        [
            (date(2019, 5, 31), ["B"]),
            (date(2019, 6, 3), ["A", "B"]),
            (date(2020, 1, 31), ["A", "B"]),
            (date(2020, 2, 3), ["A"]),
            (date(2020, 4, 1), ["A", "B"]),
            (date(2018, 1, 2), []),
        ],
    )
    def test_members_at_a_date(self, tmp_path, market, asof, expected):
        assert opened(tmp_path, market, members=self.MEMBERS).universe(asof) == expected

    def test_without_members_whatever_had_bars_lately(self, store):
        assert store.universe(date(2019, 6, 3)) == ["A", "B"]
        assert store.universe(date(2020, 7, 8)) == ["A", "B", "C"]
        assert store.universe(date(2020, 7, 31)) == ["A", "C"]


def test_nothing_at_or_before_a_date_depends_on_what_comes_after(tmp_path, market):
    """Bars, factors, actions and members after the date are noise; the store sees no difference."""
    cut = date(2020, 3, 31)
    plain = market.with_columns(
        adj_factor=pl.when(pl.col("ticker") == "A").then(1.0).otherwise("adj_factor")
    )
    rng = np.random.default_rng(3)
    later = pl.col("date") > cut
    noise = pl.Series(rng.uniform(0.2, 5, market.height))
    noisy = plain.with_columns(
        [
            pl.when(later).then(pl.col(name) * noise).otherwise(name).alias(name)
            for name in ("open", "high", "low", "close", "adj_factor")
        ]
    ).filter(~later | (pl.col("ticker") != "C"))
    noisy = noisy.with_columns(
        adj_factor=pl.when(pl.col("ticker") == "A").then(1.0).otherwise("adj_factor")
    )
    early = [("A", date(2020, 2, 3), "split", 3.0), ("A", date(2020, 3, 2), "dividend", 0.7)]
    late = [("A", date(2020, 4, 1), "split", 7.0), ("A", date(2020, 11, 2), "dividend", 1.3)]
    joined = [("A", date(2019, 1, 2), None)]
    quiet = opened(
        tmp_path / "a",
        plain,
        actions=acts(*early),
        members=pl.DataFrame(joined, schema=MEMBERS, orient="row"),
    )
    loud = opened(
        tmp_path / "b", noisy, actions=acts(*early, *late),
        members=pl.DataFrame([("A", date(2019, 1, 2), date(2020, 5, 1)), ("B", date(2020, 4, 1), None)], schema=MEMBERS, orient="row"),
    )  # fmt: skip
    assert quiet.bars(end=cut, adjusted="asof").equals(loud.bars(end=cut, adjusted="asof"))
    assert quiet.bars(end=cut, adjusted=False).equals(loud.bars(end=cut, adjusted=False))
    assert quiet.window("A", cut, 60).bars.equals(loud.window("A", cut, 60).bars)
    asofs = [date(2020, 2, 28), cut]
    np.testing.assert_array_equal(
        quiet.panel(asofs, 60).values, loud.panel([*asofs, date(2020, 9, 30)], 60).values[:2]
    )
    assert quiet.universe(cut) == loud.universe(cut) == ["A"]
