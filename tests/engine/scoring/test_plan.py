"""Which windows there are, and what they hold."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from engine.scoring.plan import cut_shards, plan_windows, window_seed
from engine.scoring.price_array import COLUMNS, PriceArray

LOOKBACK, STEPS = 40, 10


def plan(bars, calendar, asofs, lookback=LOOKBACK, steps=STEPS, seed=0):
    prices = PriceArray.from_bars(bars)
    return prices, plan_windows(prices, calendar, asofs, lookback=lookback, steps=steps, seed=seed)


def test_window_is_the_last_lookback_bars_up_to_asof(bars, calendar):
    asof = date(2020, 6, 30)
    prices, windows = plan(bars, calendar, [asof])
    (shard,) = cut_shards(windows, windows.planned, 100)
    panel = shard.panel(prices, LOOKBACK)
    for i, ticker in enumerate(panel.tickers):
        own = bars.filter(ticker=ticker).filter(pl.col("date") <= asof).tail(LOOKBACK)
        assert panel.values[i] == pytest.approx(own.select(COLUMNS).to_numpy(), rel=1e-6)
        assert panel.stamps[i].astype(object).tolist() == own["date"].to_list()
        assert panel.stamps[i][-1] == np.datetime64(asof)


def test_the_order_of_rows_does_not_matter(bars, calendar):
    asof = date(2020, 6, 30)
    _, ordered = plan(bars, calendar, [asof])
    _, shuffled = plan(bars.sample(fraction=1.0, shuffle=True, seed=0), calendar, [asof])
    assert shuffled.windows.equals(ordered.windows)


def test_forecast_dates_come_from_the_calendar_not_from_later_rows(bars, calendar):
    last = bars["date"].max()
    _, windows = plan(bars, calendar, [last])
    assert windows.future[last].astype(object).tolist() == calendar.future(last, STEPS)


def test_every_candidate_is_planned_or_skipped_with_a_reason(make_bars, calendar):
    spans = {
        "FULL": (date(2020, 1, 2), date(2020, 12, 31)),
        "LATE": (date(2020, 6, 1), date(2020, 12, 31)),
        "GONE": (date(2020, 1, 2), date(2020, 6, 25)),
        "DEAD": (date(2020, 1, 2), date(2020, 5, 1)),
        "UNBORN": (date(2020, 8, 3), date(2020, 12, 31)),
    }
    _, windows = plan(make_bars(spans), calendar, [date(2020, 6, 30)])
    found = dict(windows.windows.select("ticker", "reason").iter_rows())
    assert found == {
        "FULL": None,
        "LATE": "history shorter than lookback",
        "GONE": "no bar at asof",
    }
    assert windows.skipped == {"history shorter than lookback": 1, "no bar at asof": 1}


@pytest.mark.parametrize(("removed", "planned"), [(2, True), (3, False)])
def test_five_percent_of_the_sessions_may_be_missing(bars, calendar, removed, planned):
    asof = date(2020, 6, 30)
    days = calendar.sessions(date(2020, 1, 2), asof)
    holes = days[-20 : -20 + removed]
    _, windows = plan(bars.filter(~pl.col("date").is_in(holes)), calendar, [asof])
    assert windows.windows["status"].unique().to_list() == ["planned" if planned else "skipped"]


def test_nothing_after_the_asof_matters(bars, calendar):
    asof = date(2020, 6, 30)
    later = pl.col("date") > asof
    rng = np.random.default_rng(1)
    noise = pl.Series(rng.uniform(1, 100, bars.height))
    prices_as_noise = bars.with_columns(
        pl.when(later).then(noise).otherwise(pl.col(c)).alias(c) for c in [*COLUMNS, "adj_factor"]
    )
    futures = [bars.filter(~later), prices_as_noise]
    _, expected = plan(bars, calendar, [asof])
    for changed in futures:
        _, windows = plan(changed, calendar, [asof])
        assert windows.windows.drop("row").equals(expected.windows.drop("row"))


def test_a_later_split_or_dividend_changes_no_earlier_window(bars, calendar):
    asof = date(2020, 6, 30)
    _, expected = plan(bars, calendar, [asof])
    for factor in (0.5, 0.9937, 1 / 7):
        split = bars.with_columns(
            pl.when(pl.col("date") <= date(2020, 9, 1))
            .then(factor)
            .otherwise(1.0)
            .alias("adj_factor")
        )
        _, windows = plan(split, calendar, [asof])
        assert windows.windows["hash"].to_list() == expected.windows["hash"].to_list()


def test_a_split_inside_the_window_is_adjusted_away(bars, calendar):
    asof, split = date(2020, 6, 30), date(2020, 6, 10)
    before = pl.col("date") < split
    money = ["open", "high", "low", "close"]
    recorded = bars.with_columns(
        *(pl.when(before).then(pl.col(c) * 4).otherwise(pl.col(c)).alias(c) for c in money),
        pl.when(before).then(pl.col("volume") / 4).otherwise(pl.col("volume")).alias("volume"),
        pl.when(before).then(0.25).otherwise(1.0).alias("adj_factor"),
    )
    adjusted, raw = PriceArray.from_bars(bars), PriceArray.from_bars(recorded)
    row = bars.with_row_index().filter((pl.col("ticker") == "BBB") & (pl.col("date") == asof))
    last = row["index"].item()
    assert raw.window(last, LOOKBACK) == pytest.approx(adjusted.window(last, LOOKBACK), rel=1e-6)


def test_hash_changes_with_anything_the_model_sees(bars, calendar):
    asof = date(2020, 6, 30)
    _, base = plan(bars, calendar, [asof])
    touched = bars.with_columns(
        pl.when((pl.col("ticker") == "BBB") & (pl.col("date") == date(2020, 6, 15)))
        .then(pl.col("low") * 0.999)
        .otherwise("low")
        .alias("low")
    )
    _, other = plan(touched, calendar, [asof])
    same = [a == b for a, b in zip(base.windows["hash"], other.windows["hash"], strict=True)]
    assert same == [True, False, True]
    _, longer = plan(bars, calendar, [asof], steps=STEPS + 1)
    assert not set(longer.windows["hash"]) & set(base.windows["hash"])


def test_a_split_elsewhere_leaves_the_windows_bits_alone(bars, calendar):
    """Also where the window has a split of its own, whose ratio must not change in the last bit."""
    asof = date(2020, 6, 30)

    def adjusted(later: float) -> pl.DataFrame:
        own = pl.when(pl.col("date") < date(2020, 6, 10)).then(0.3).otherwise(1.0)
        after = pl.when(pl.col("date") < date(2020, 9, 1)).then(later).otherwise(1.0)
        before = pl.when(pl.col("date") < date(2020, 1, 20)).then(0.77).otherwise(1.0)
        return bars.with_columns((own * after * before).alias("adj_factor"))

    (base, expected), *others = (plan(adjusted(f), calendar, [asof]) for f in (1.0, 0.97, 1 / 7))
    rows = expected.planned["row"].to_list()
    assert len(rows) == 3
    for prices, windows in others:
        assert windows.windows["hash"].to_list() == expected.windows["hash"].to_list()
        for row in rows:
            assert np.array_equal(prices.window(row, LOOKBACK), base.window(row, LOOKBACK))
    (_, unsplit) = plan(bars, calendar, [asof])
    assert not set(unsplit.windows["hash"]) & set(expected.windows["hash"])


def test_shards_cover_the_windows_once(bars, calendar):
    asofs = calendar.rebalances(date(2020, 4, 1), date(2020, 12, 31), "weekly")
    _, windows = plan(bars, calendar, asofs)
    shards = cut_shards(windows, windows.planned, 7)
    assert sum(len(s) for s in shards) == windows.planned.height
    assert all(len(s) <= 7 for s in shards)
    assert [h for s in shards for h in s.hashes] == windows.planned["hash"].to_list()
    assert len({s.id for s in shards}) == len(shards)
    left, right = shards[0].halves()
    assert left.hashes + right.hashes == shards[0].hashes


def test_seeds_belong_to_run_asof_and_ticker():
    base = window_seed(0, date(2020, 1, 31), "A")
    others = {
        window_seed(1, date(2020, 1, 31), "A"),
        window_seed(0, date(2020, 2, 28), "A"),
        window_seed(0, date(2020, 1, 31), "B"),
    }
    assert len(others | {base}) == 4
    assert base == window_seed(0, date(2020, 1, 31), "A")
    assert 0 <= base < 2**63
