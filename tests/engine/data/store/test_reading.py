from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.data.membership import only_members
from engine.data.source import ACTIONS, MEMBERS
from engine.data.sources.embedded import EmbeddedSource
from engine.data.store import PriceStore
from engine.data.store.writer import Delivery, StoreWriter


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


def adjusted(bars: pl.DataFrame) -> pl.Series:
    """Closes in the money of each ticker's last bar."""
    factor = pl.col("adj_factor")
    return bars.select(pl.col("close") * factor / factor.last().over("ticker")).to_series()


class TestBars:
    def test_only_what_is_asked_for(self, store, market):
        got = store.bars(["A", "C"], date(2019, 12, 30), date(2020, 1, 10))
        wanted = market.filter(
            pl.col("ticker").is_in(["A", "C"]),
            pl.col("date").is_between(date(2019, 12, 30), date(2020, 1, 10)),
        )
        assert got.equals(wanted.select(got.columns))
        assert store.bars([], None, None).is_empty()

    def test_as_a_source_it_gives_the_same_bars(self, store, market):
        loaded = store.fetch(["A"], date(2020, 1, 2))
        wanted = market.filter(pl.col("ticker") == "A", pl.col("date") >= date(2020, 1, 2))
        assert loaded.bars.select(wanted.columns).equals(wanted)
        assert set(loaded.bars["source"]) == {store.name}


class TestActions:
    def test_a_split_and_a_dividend_by_hand(self, tmp_path, rows_of):
        rows = rows_of("A", sessions=4).with_columns(
            close=pl.Series([100.0, 50.0, 40.0, 40.0]), high=200.0, low=1.0, open=50.0,
            amount=pl.lit(None, pl.Float64), adj_factor=1.0,
        )  # fmt: skip
        days = rows["date"]
        actions = acts(("A", days[1], "split", 2.0), ("A", days[3], "dividend", 4.0))
        store = opened(tmp_path, rows, actions=actions)
        assert store.bars()["close"].to_list() == [100.0, 50.0, 40.0, 40.0]
        # The dividend of 4 after a close of 40: a factor of 0.9 before it.
        assert adjusted(store.bars()).to_list() == pytest.approx([45.0, 45.0, 36.0, 40.0])
        asof = adjusted(store.bars(end=days[2]))
        assert asof.to_list() == pytest.approx([50.0, 50.0, 40.0])

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
        bars = opened(tmp_path / "c", plain, actions=known).bars()
        assert set(bars["adj_factor"]) == {1.0}

    def test_real_splits_leave_no_jump_once_they_are_actions(self, tmp_path):
        raw = EmbeddedSource().fetch(["AAPL", "MSFT"]).bars.with_columns(adj_factor=1.0)
        splits = acts(
            ("AAPL", date(2000, 6, 21), "split", 2.0),
            ("AAPL", date(2005, 2, 28), "split", 2.0),
            ("MSFT", date(2003, 2, 18), "split", 2.0),
        )
        store = opened(tmp_path, raw.drop("source"), actions=splits)
        bars = store.bars()
        change = pl.col("close").pct_change().over("ticker")
        for closes, on_splits in ((adjusted(bars), False), (bars["close"], True)):
            found = bars.with_columns(close=closes).with_columns(change=change)
            on_days = found.join(splits, on=["ticker", "date"], how="semi")["change"].abs()
            assert on_days.len() == 3
            assert (on_days > 0.3).all() if on_splits else (on_days < 0.3).all()


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
    assert quiet.bars(end=cut).equals(loud.bars(end=cut))
    assert adjusted(quiet.bars(end=cut)).equals(adjusted(loud.bars(end=cut)))
    asof = pl.DataFrame({"asof": [cut] * 3, "ticker": ["A", "B", "C"]})
    for store in (quiet, loud):
        assert only_members(asof, store.members())["ticker"].to_list() == ["A"]
