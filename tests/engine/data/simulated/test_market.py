from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from pydantic import ValidationError

from engine.config.data import SimulatedSettings
from engine.data.contract import BARS
from engine.data.rules import partition

CUT = date(2013, 3, 1)


def total_return(bars: pl.DataFrame) -> pl.DataFrame:
    level = pl.col("close") * pl.col("adj_factor")
    return bars.with_columns(r=(level / level.shift(1)).log().over("ticker")).drop_nulls("r")


def test_bars_keep_every_rule_and_the_contract(market, calendar):
    bars = market.bars
    assert bars.schema == BARS
    kept, quarantined = partition(bars.with_columns(source=pl.lit("s")), calendar)
    assert quarantined.is_empty()
    assert kept.drop("source").equals(bars)
    assert bars["ticker"].n_unique() >= 100


def test_the_same_seed_gives_the_same_market_and_another_another(simulate):
    a, b, c = simulate(n_tickers=3), simulate(n_tickers=3), simulate(n_tickers=3, seed=2)
    assert a.bars.equals(b.bars)
    assert a.signal.equals(b.signal)
    assert not a.bars["close"].head(100).equals(c.bars["close"].head(100))


def test_a_ticker_is_the_same_whatever_others_are_asked_for(simulate, market):
    names = ["S0003", "S0041", "S0100"]
    alone = simulate(tickers=names, n_tickers=140)
    assert_frame_equal(alone.bars, market.bars.filter(pl.col("ticker").is_in(names)))
    fewer = simulate(n_tickers=50)
    assert_frame_equal(fewer.bars, market.bars.filter(pl.col("ticker") < "S0050"))
    assert alone.index.equals(market.index)


@pytest.mark.parametrize("rank_ic", [0.0, 0.1])
def test_a_later_end_changes_nothing_before_it(simulate, rank_ic):
    short = simulate(end=CUT, rank_ic=rank_ic)
    long = simulate(rank_ic=rank_ic)
    past = pl.col("date") <= CUT
    assert_frame_equal(short.bars, long.bars.filter(past))
    assert_frame_equal(short.signal, long.signal.filter(past))
    assert_frame_equal(short.actions, long.actions.filter(past))
    assert_frame_equal(short.index, long.index.filter(past))
    assert_frame_equal(short.volatility_index, long.volatility_index.filter(past))
    assert long.bars.height > short.bars.height


@pytest.mark.parametrize("rank_ic", [0.0, 0.1])
def test_another_future_changes_nothing_before_it(simulate, rank_ic):
    """No look-ahead in the simulation: all later random numbers replaced, the past is the same."""
    one, other = (simulate(rank_ic=rank_ic, future=(CUT, seed)) for seed in (91, 92))
    past, later = pl.col("date") < CUT, pl.col("date") >= CUT
    for name in ("bars", "signal", "actions", "index", "volatility_index", "regimes"):
        a, b = getattr(one, name), getattr(other, name)
        assert_frame_equal(a.filter(past), b.filter(past))
        assert not a.filter(later).equals(b.filter(later))


def test_the_adjusted_price_has_no_jump_at_an_action(market):
    """Recorded prices jump by the split; times the factor they do not."""
    bars = total_return(market.bars).with_columns(
        raw=(pl.col("close") / pl.col("close").shift(1)).log().over("ticker")
    )
    splits = market.actions.filter(pl.col("kind") == "split")
    on = bars.join(splits, on=["ticker", "date"])
    assert on.height >= 8
    assert (on["r"].abs() < 0.35).all()
    assert (on["raw"].abs() > 0.35).all()


def test_the_factor_is_the_running_product_of_the_actions(market):
    bars = market.bars.with_columns(
        previous=pl.col("close").shift(1).over("ticker"),
        step=(pl.col("adj_factor") / pl.col("adj_factor").shift(1)).over("ticker"),
    )
    step = bars.join(
        market.actions.pivot(on="kind", index=["ticker", "date"], values="value"),
        on=["ticker", "date"],
        how="left",
    ).drop_nulls("previous")
    split = pl.col("split").fill_null(1.0)
    kept = 1 - pl.col("dividend").fill_null(0.0) / pl.col("previous")
    # The close is rounded to cents, the factor knows the price before rounding.
    off = step.filter((pl.col("step") / (split / kept) - 1).abs() > 1e-3)
    halted = step.filter(pl.col("date").is_first_distinct().over("ticker"))
    assert off.height <= halted.height * 0.01
    assert market.actions.filter(pl.col("kind") == "dividend").height > 500


def test_volume_follows_the_number_of_shares(market):
    """Around a split 2:1 twice the shares trade, and the value traded stays."""
    splits = market.actions.filter(pl.col("kind") == "split")
    ratios = []
    for ticker, day, _, value, _ in splits.iter_rows():
        own = market.bars.filter(pl.col("ticker") == ticker)
        before = own.filter(pl.col("date") < day).tail(20)
        after = own.filter(pl.col("date") >= day).head(20)
        ratios.append(np.log(after["volume"].median() / before["volume"].median() / value))
    assert abs(np.mean(ratios)) < 0.3


def test_listings_say_when_each_ticker_trades(market, calendar):
    spans = market.bars.group_by("ticker").agg(a=pl.col("date").min(), b=pl.col("date").max())
    joined = market.listings.join(spans, on="ticker", how="full", coalesce=True)
    assert joined.height == spans.height
    assert (joined["listed"] == joined["a"]).all()
    ended = joined.drop_nulls("last")
    assert (ended["b"] <= ended["last"]).all()
    assert ended.height >= 5
    assert set(ended["ending"]) == {"merger", "failure"}
    assert (joined["listed"] > date(2010, 1, 4)).sum() >= 5
    # A failure loses most of its value, a merger gains.
    whole = total_return(market.bars).group_by("ticker").agg(pl.col("r").tail(100).sum())
    by = ended.join(whole, on="ticker").group_by("ending").agg(pl.col("r").mean())
    outcome = dict(by.iter_rows())
    assert outcome["failure"] < -0.4
    assert outcome["merger"] > 0.0


def test_halts_are_sessions_without_a_bar(market, calendar):
    sessions = calendar.sessions(date(2010, 1, 4), date(2014, 12, 31))
    number = pl.DataFrame({"date": sessions}).with_row_index("at")
    gaps = (
        market.bars.join(number, on="date")
        .sort("ticker", "date")
        .with_columns(gap=(pl.col("at").cast(pl.Int64).diff() - 1).over("ticker"))
        .filter(pl.col("gap") > 0)
    )
    assert 20 <= gaps.height <= 120
    assert gaps["gap"].max() <= 10  # two in a row at most


def test_volatility_clusters_and_follows_the_regime(simulate):
    market = simulate(n_tickers=1, end=date(2029, 12, 31))
    index = market.index.join(market.regimes, on="date")
    index = index.with_columns(r=(pl.col("close") / pl.col("close").shift(1)).log()).drop_nulls()
    by = dict(index.group_by("regime").agg(pl.col("r").std() * 252**0.5).iter_rows())
    assert by[0] < by[1] < by[2]
    assert 0.2 < by[2] < 0.5
    squared = index["r"].to_numpy() ** 2
    assert np.corrcoef(squared[1:], squared[:-1])[0, 1] > 0.05
    kurtosis = index["r"].kurtosis()
    assert kurtosis is not None
    assert kurtosis > 1.0
    vix = market.volatility_index["close"]
    assert 10 < float(vix.mean()) < 30
    assert float(vix.min()) > 4


def test_names_of_a_sector_move_together(simulate):
    market = simulate(n_tickers=60, listed_at_start=1.0, endings_per_year=0.0, halts_per_year=0.0)
    wide = total_return(market.bars).pivot(on="ticker", index="date", values="r").sort("date")
    names = wide.columns[1:]
    index = market.index.select("date", m=(pl.col("close") / pl.col("close").shift(1)).log())
    m = wide.join(index, on="date")["m"].to_numpy()
    r = wide.select(names).to_numpy()
    beta = (r * m[:, None]).mean(axis=0) / (m * m).mean()
    own = np.corrcoef((r - m[:, None] * beta).T)
    sector = dict(market.listings.select("ticker", "sector").iter_rows())
    same = np.array([[sector[a] == sector[b] for b in names] for a in names])
    off = ~np.eye(len(names), dtype=bool)
    assert own[same & off].mean() > 0.05
    assert abs(own[~same].mean()) < 0.02


def test_settings_that_make_no_sense():
    with pytest.raises(ValidationError, match="is after"):
        SimulatedSettings(start=date(2020, 1, 2), end=date(2019, 1, 2))
    with pytest.raises(ValidationError):
        SimulatedSettings(rank_ic=0.9)
    with pytest.raises(ValidationError):
        SimulatedSettings(tickers=5)  # type: ignore[call-arg]
