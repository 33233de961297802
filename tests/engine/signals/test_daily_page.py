"""The page of the day: live beside what happened and what the backtest promised."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.stats import spearmanr

from backtest.costs import Costs
from engine.data.market import load_market
from engine.live.orders import FILLS
from engine.live.page import write_daily_page
from engine.live.page.daily import daily
from engine.live.page.html import render_page
from engine.live.page.tracking import (
    HISTORY,
    against_backtest,
    live_rank_ic,
    read_history,
    returns_since,
    slippage,
)
from engine.signals.compute import compute_signals
from engine.signals.html import signals_style
from engine.signals.write import write_signals

COSTS = Costs(round_trip_bps=10, impact_coefficient=0, borrow_bps_per_year=0, aum=1e6)
ARGUMENTS = {"costs": COSTS, "min_cross_section": 5, "min_dates": 5, "min_fills": 4}
TODAY = date(2020, 10, 16)


def backtest_metrics(lo: float, hi: float) -> dict:
    return {"horizons": {"5": {"rank_ic_mean": (lo + hi) / 2, "ci95": [lo, hi]}}}


@pytest.fixture(scope="module")
def market(traded, configured, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    traded.write_parquet(folder / "bars.parquet")
    return load_market(configured(folder, folder / "bars.parquet").data)


def until(market, day, bars=None):
    from dataclasses import replace

    known = pl.col("date") <= day
    bars = market.bars if bars is None else bars
    return replace(market, bars=bars.filter(known), benchmark=market.benchmark.filter(known))


@pytest.fixture(scope="module")
def history(market) -> pl.DataFrame:
    """Signals at every session of two months whose scores know a little of the next five sessions."""
    rng = np.random.default_rng(5)
    close = (
        market.adjusted()
        .select("date", "ticker", "close")
        .with_columns(
            ahead=(pl.col("close").shift(-5) / pl.col("close") - 1).over("ticker", order_by="date")
        )
    )
    days = market.calendar.sessions(date(2020, 8, 17), TODAY)
    rows = close.filter(pl.col("date").is_in(days), pl.col("ahead").is_not_null()).rename(
        {"date": "asof"}
    )
    rows = rows.with_columns(score=pl.col("ahead") + pl.Series(rng.normal(0, 0.05, rows.height)))
    rank = pl.col("score").rank("ordinal", descending=True).over("asof").cast(pl.Int32)
    rows = rows.with_columns(rank=rank, horizon=pl.lit(5, dtype=pl.Int32), fallback=pl.lit(False))
    weight = pl.when(rank <= 3).then(1 / 6).when(rank >= 9).then(-1 / 6).otherwise(0.0)
    absent = [n for n in HISTORY.names() if n not in {*rows.columns, "target_weight"}]
    return (
        rows.with_columns(pl.lit(None).alias(name) for name in absent)
        .with_columns(target_weight=weight)
        .select(HISTORY.names())
        .cast(HISTORY)
        .sort("asof", "rank")
    )


def test_returns_since_a_signal(history, market):
    asof = date(2020, 10, 14)
    found = returns_since(history, until(market, TODAY), asof)
    closes = market.adjusted().filter(pl.col("ticker") == "T05").sort("date")
    first, last = (closes.filter(pl.col("date") == day)["close"][0] for day in (asof, TODAY))
    moved = found.filter(pl.col("ticker") == "T05")["return"][0]
    assert moved == pytest.approx(last / first - 1)
    assert found["rank"].is_sorted()


def test_live_rank_ic_is_spearman_of_matured_dates_only(history, market):
    known = until(market, TODAY)
    ic = live_rank_ic(history, known, min_cross_section=5)
    judged = ic.filter(pl.col("status") == "judged")
    assert judged["asof"].max() == market.calendar.offset(TODAY, -5)
    assert set(ic.filter(pl.col("asof") > judged["asof"].max())["status"]) == {"immature"}
    asof = judged["asof"][7]
    later = market.calendar.offset(asof, 5)
    prices = {
        day: market.adjusted().filter(pl.col("date") == day).select("ticker", close="close")
        for day in (asof, later)
    }
    both = (
        prices[asof]
        .join(prices[later], on="ticker", suffix="_later")
        .join(history.filter(pl.col("asof") == asof), on="ticker")
    )
    expected = spearmanr(both["score"], both["close_later"] / both["close"]).statistic
    assert judged["rank_ic"][7] == pytest.approx(expected)


def test_the_fallbacks_signals_are_not_judged(history, market):
    half = history.with_columns(fallback=pl.col("asof") > date(2020, 9, 10))
    ic = live_rank_ic(half, until(market, TODAY), min_cross_section=5)
    assert ic["asof"].max() == date(2020, 9, 10)


@pytest.mark.parametrize(
    ("interval", "verdict", "alarmed"),
    [((-0.9, 0.99), "inside", False), ((-0.9, -0.5), "outside", True), (None, "unknown", False)],
)
def test_the_standing_against_the_backtest(history, market, interval, verdict, alarmed):
    metrics = backtest_metrics(*interval) if interval else None
    day = daily(history, until(market, TODAY), fills(market), metrics=metrics, **ARGUMENTS)
    assert day.standing.verdict == verdict
    assert any("has left the backtest's interval" in alert for alert in day.alerts) is alarmed
    if alarmed:
        assert not day.standing.chance
        assert "more than chance" in day.alerts[0]


def test_few_dates_are_not_judged(history, market):
    known = until(market, date(2020, 8, 26))
    ic = live_rank_ic(
        history.filter(pl.col("asof") <= known.last_session), known, min_cross_section=5
    )
    metrics = backtest_metrics(0.8, 0.9)
    assert against_backtest(ic, metrics, known, horizon=5, min_dates=12).verdict == "few"
    assert against_backtest(ic, metrics, known, horizon=5, min_dates=2).verdict == "outside"


def fills(market, cost_bps: float = 3.0, n: int = 12) -> pl.DataFrame:
    """Orders for three names a day, each `cost_bps` worse than the open."""
    rows = []
    for day in market.calendar.sessions(TODAY - timedelta(days=30), TODAY)[-n:]:
        before = market.calendar.offset(day, -1)
        bars = market.bars.filter(pl.col("ticker").is_in(["T00", "T01", "T05"]))
        for number, name in enumerate(("T00", "T01", "T05")):
            own = bars.filter(pl.col("ticker") == name)
            opened = own.filter(pl.col("date") == day)["open"][0]
            close = own.filter(pl.col("date") == before)["close"][0]
            side = "buy" if number % 2 else "sell"
            way = 1 if side == "buy" else -1
            noise = 0.2 * (day.toordinal() % 3)
            rows.append(
                (day, name, side, 10.0, opened * (1 + way * (cost_bps + noise) / 1e4), close)
            )
    return pl.DataFrame(rows, schema=FILLS, orient="row")


def test_slippage_is_what_the_open_did_not_cost(market):
    found = slippage(fills(market, 7.0), until(market, TODAY), COSTS)
    assert found["slippage_bps"].is_between(6.9, 7.5).all()
    assert found["assumed_bps"].to_list() == pytest.approx([5.0] * found.height)
    row = found.row(0, named=True)
    opened = market.bars.filter(
        pl.col("ticker") == row["ticker"], pl.col("date") == row["session"]
    )["open"][0]
    way = 1 if row["side"] == "buy" else -1
    assert row["drift_bps"] == pytest.approx(1e4 * way * (opened / row["reference"] - 1))


def test_slippage_of_a_decision_within_the_session_is_from_its_price(market):
    day = date(2020, 10, 1)
    fill = pl.DataFrame([(day, "T01", "sell", 5.0, 99.9, 100.0)], schema=FILLS, orient="row")
    found = slippage(fill, market, COSTS, against="decision")
    assert found["slippage_bps"][0] == pytest.approx(10)
    assert found["drift_bps"][0] is None


def test_a_split_between_decision_and_fill_is_no_drift(market):
    """T05 splits two for one on 2020-07-01: half the price is the same price."""
    own = market.bars.filter(pl.col("ticker") == "T05")
    day, before = date(2020, 7, 1), date(2020, 6, 30)
    opened = own.filter(pl.col("date") == day)["open"][0]
    close = own.filter(pl.col("date") == before)["close"][0]
    assert opened / close < 0.6
    fill = pl.DataFrame([(day, "T05", "buy", 1.0, opened, close)], schema=FILLS, orient="row")
    found = slippage(fill, market, COSTS)
    assert found["slippage_bps"][0] == 0
    assert abs(found["drift_bps"][0]) < 500


@pytest.mark.parametrize(("cost", "alarmed"), [(3.0, False), (30.0, True)])
def test_slippage_above_the_assumption_alarms(history, market, cost, alarmed):
    day = daily(history, until(market, TODAY), fills(market, cost), metrics=None, **ARGUMENTS)
    assert any("Slippage" in alert for alert in day.alerts) is alarmed
    few = daily(history, until(market, TODAY), fills(market, cost, n=1), metrics=None, **ARGUMENTS)
    assert not any("Slippage" in alert for alert in few.alerts)


def test_the_future_replaced_by_noise_changes_no_figure(history, market, noised):
    metrics = backtest_metrics(-0.1, 0.1)
    day = daily(history, until(market, TODAY), fills(market), metrics=metrics, **ARGUMENTS)
    wild = pl.col("asof") > TODAY
    other_history = history.with_columns(score=pl.when(wild).then(9.0).otherwise("score"))
    other = daily(
        other_history,
        until(market, TODAY, noised(market.bars, TODAY)),
        fills(market),
        metrics=metrics,
        **ARGUMENTS,
    )
    assert render_page(other) == render_page(day)
    assert_frame_equal(other.ic, day.ic)


def test_every_colour_that_the_pages_use_is_defined_for_light_and_dark():
    style = signals_style()
    light, dark = (block.split("}")[0] for block in style.split(":root{")[1:])
    for name in set(re.findall(r"var\(--(\w+)", style)):
        assert f"--{name}:#" in light
        assert f"--{name}:#" in dark


def test_before_the_first_signals_there_is_a_page(market):
    day = daily(
        pl.DataFrame(schema=HISTORY),
        until(market, TODAY),
        pl.DataFrame(schema=FILLS),
        metrics=None,
        **ARGUMENTS,
    )
    assert day.signalled is None
    assert "No earlier signals yet" in render_page(day)


def test_the_page_loads_nothing_and_holds_every_figure(history, market):
    renamed = history.with_columns(
        ticker=pl.when(pl.col("ticker") == "T00").then(pl.lit("<i>T00")).otherwise("ticker")
    )
    day = daily(
        renamed,
        until(market, TODAY),
        fills(market),
        metrics=backtest_metrics(-0.9, -0.5),
        **ARGUMENTS,
    )
    page = render_page(day)
    assert "<script" not in page
    assert "<i>T00" not in page
    assert "://" not in page
    assert page.count('<svg class="wide"') == page.count('<svg class="narrow"') == 3
    assert f"{day.standing.live.mean:.3f}" in page
    assert "more than chance" in page
    assert len(page) < 300_000


def test_the_loop_writes_it_from_what_signals_left(traded, configured, tmp_path):
    traded.write_parquet(tmp_path / "bars.parquet")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.json").write_text(json.dumps(backtest_metrics(-1, 1)))
    settings = configured(
        tmp_path,
        tmp_path / "bars.parquet",
        scoring__horizons="5",
        live__monitor__backtest=str(tmp_path / "run"),
    )
    for asof in (date(2020, 10, 14), date(2020, 10, 15), TODAY):
        write_signals(compute_signals(settings, asof), settings)
    history = read_history(tmp_path, date(2020, 10, 15))
    assert history.schema == HISTORY
    assert history["asof"].unique().sort().to_list() == [date(2020, 10, 14), date(2020, 10, 15)]
    path, day = write_daily_page(settings, TODAY, pl.DataFrame(schema=FILLS))
    assert path == tmp_path / "live" / "daily" / "2020-10-16.html"
    assert path.read_text().startswith("<!doctype html>")
    assert day.signalled == date(2020, 10, 15)
    assert day.standing.verdict == "few"
    assert day.book is not None
