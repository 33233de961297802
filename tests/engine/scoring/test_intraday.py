"""Five-minute bars and markets that never close go through windows, forecasts and scores."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from intraday_bars import five_minute_bars
from rich.console import Console

from engine.calendar import TradingCalendar
from engine.config.settings import ScoringSettings
from engine.data.market import Market
from engine.forecasters.rules import RuleSpec
from engine.scoring.bar_grid import BarGrid, bar_interval, generated_steps
from engine.scoring.plan import cut_shards, plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.score import score_market

FIVE = np.timedelta64(5, "m")
# 29 November 2024 is a half day: 42 bars instead of 78.
WEEK = (date(2024, 11, 25), date(2024, 12, 4))


def test_grid_knows_half_days_and_daylight_saving(calendar):
    grid = BarGrid.between(calendar, date(2024, 3, 7), date(2024, 3, 12), FIVE)
    opening = grid.times[grid.starts[:-1]]
    assert {str(t)[11:16] for t in opening} == {"09:30"}  # New York's clock on both sides of DST
    half = BarGrid.between(calendar, *WEEK, FIVE)
    assert np.diff(half.starts).tolist() == [78, 78, 78, 42, 78, 78, 78]
    assert half.steps_to(date(2024, 11, 26), 2) == 78 + 42
    assert half.after(date(2024, 11, 27), 43)[-1] == np.datetime64("2024-12-02T09:30")


def test_lunch_breaks_and_markets_that_never_close():
    tokyo = BarGrid.between(TradingCalendar("XHKG"), date(2024, 11, 27), date(2024, 11, 27), FIVE)
    clock = [str(t)[11:16] for t in tokyo.times]
    assert (clock[0], clock[-1]) == ("09:30", "15:55")
    assert not [t for t in clock if "12:00" <= t < "13:00"]
    crypto = BarGrid.between(TradingCalendar("24/7"), date(2024, 11, 30), date(2024, 12, 1), FIVE)
    assert np.diff(crypto.starts).tolist() == [288, 288]
    assert (np.diff(crypto.times) == FIVE).all()


def test_interval_is_the_commonest_distance_within_a_ticker(calendar):
    prices = PriceArray.from_bars(five_minute_bars(calendar, *WEEK))
    assert prices.interval == FIVE
    assert bar_interval(prices.stamps, prices.offsets) == FIVE


def test_a_window_ends_with_its_sessions_last_bar(calendar):
    bars = five_minute_bars(calendar, *WEEK)
    asof, lookback, horizons = date(2024, 11, 29), 60, [1, 2]
    prices = PriceArray.from_bars(bars, timezone=calendar.zone)
    steps = generated_steps(calendar, [asof], horizons, FIVE)
    assert steps == 2 * 78
    plan = plan_windows(prices, calendar, [asof], lookback=lookback, steps=steps, seed=0)
    (shard,) = cut_shards(plan, plan.planned, 16)
    panel = shard.panel(prices, lookback)
    assert panel.tickers == ("AAA", "BBB")
    own = bars.filter(ticker="AAA").filter(pl.col("date") <= asof).tail(lookback)
    assert panel.values[0, :, 3] == pytest.approx(own["close"].to_numpy(), rel=1e-6)
    assert str(panel.stamps[0, -1])[:16] == "2024-11-29T12:55"  # the half day's last bar, New York
    assert panel.future.shape == (2, steps)
    assert str(panel.future[0, 0])[:16] == "2024-12-02T09:30"
    assert shard.asof(prices).astype(object).tolist() == [asof, asof]
    assert plan.horizon_steps(horizons).rows() == [(asof, 1, 78), (asof, 2, 156)]


def test_nothing_after_the_asof_matters(calendar):
    bars = five_minute_bars(calendar, *WEEK)
    asof = date(2024, 11, 27)
    rng = np.random.default_rng(9)
    noise = pl.Series(rng.uniform(1, 100, bars.height))
    later = pl.col("date") > asof
    noisy = bars.with_columns(
        pl.when(later).then(noise).otherwise(c).alias(c) for c in ("open", "close", "adj_factor")
    )
    plans = [
        plan_windows(
            PriceArray.from_bars(b, timezone=calendar.zone),
            calendar,
            [asof],
            lookback=60,
            steps=78,
            seed=0,
        )
        for b in (bars, noisy, bars.filter(~later))
    ]
    names = [p.windows["hash"].to_list() for p in plans]
    assert names[0] == names[1] == names[2]
    assert None not in names[0]


def test_missing_bars_are_counted_by_the_grid(calendar):
    bars = five_minute_bars(calendar, *WEEK)
    asof = date(2024, 12, 3)
    hole = (pl.col("ticker") == "AAA") & (pl.col("date") == asof) & (pl.col("ts").dt.hour() == 16)
    prices = PriceArray.from_bars(bars.filter(~hole), timezone=calendar.zone)
    plan = plan_windows(prices, calendar, [asof], lookback=100, steps=1, seed=0)
    found = dict(plan.windows.select("ticker", "reason").iter_rows())
    assert found == {"AAA": "too many missing sessions in lookback", "BBB": None}


@pytest.mark.usefixtures("ray")
@pytest.mark.parametrize(("name", "bars_a_session"), [("XNYS", 78), ("24/7", 288)])
def test_horizons_are_sessions_whatever_the_bars(tmp_path, name, bars_a_session):
    calendar = TradingCalendar(name)
    bars = five_minute_bars(calendar, *WEEK)
    asofs = [date(2024, 11, 27), date(2024, 12, 2)]
    scored = score_market(
        Market.from_bars(bars, calendar),
        asofs,
        spec=RuleSpec("momentum"),
        scoring=ScoringSettings(lookback=60, horizons=[1, 2], batch_size=16, actors=1),
        seed=0,
        shards=tmp_path / "shards",
        console=Console(quiet=True),
    )
    assert scored.scores["status"].unique().to_list() == ["ok"]
    assert scored.scores.height == 2 * 2 * 2
    assert scored.identity["steps"] == 2 * bars_a_session
    session = bars.filter((pl.col("ticker") == "AAA") & (pl.col("date") <= asofs[0]))
    closes = session["close"].tail(60)
    expected = closes[-1] / closes[0] - 1
    first = scored.scores.filter(ticker="AAA", asof=asofs[0])
    assert first["horizon"].to_list() == [1, 2]
    assert first["score"].to_list() == pytest.approx([expected] * 2, rel=1e-5)
    assert first["last_close"][0] == pytest.approx(closes[-1], rel=1e-6)


def test_a_session_longer_than_the_models_context_is_named_before_any_work(calendar, tmp_path):
    from engine.config.settings import ModelSettings
    from engine.errors import UsageError
    from engine.forecasters.kronos import KronosSpec

    scoring = ScoringSettings(lookback=60, horizons=[3], batch_size=16)
    spec = KronosSpec.from_settings(ModelSettings(device="cpu", profile="exact"), scoring)
    with pytest.raises(UsageError, match="3 sessions are 234 bars, more than the model's context"):
        score_market(
            Market.from_bars(five_minute_bars(calendar, *WEEK), calendar), [date(2024, 11, 27)],
            spec=spec, scoring=scoring, seed=0, shards=tmp_path, console=Console(quiet=True),
        )  # fmt: skip


def test_utc_and_exchange_time_are_told_apart(calendar):
    bars = five_minute_bars(calendar, *WEEK).filter(ticker="AAA").head(1)
    bars = pl.concat([bars, bars.with_columns(pl.col("ts") + timedelta(minutes=5))])
    assert bars["ts"][0] == datetime(2024, 11, 25, 14, 30, tzinfo=UTC)
    local = PriceArray.from_bars(bars, timezone=calendar.zone)
    assert str(local.stamps[0])[:16] == "2024-11-25T09:30"
    assert str(PriceArray.from_bars(bars).stamps[0])[:16] == "2024-11-25T14:30"
