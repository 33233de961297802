"""Seven-day markets and five-minute bars on their way from file to scoring windows."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from engine.calendar import TradingCalendar
from engine.data import load_market
from engine.data.__main__ import main
from engine.scoring.plan import plan_windows
from engine.scoring.price_array import PriceArray


def walk(times: list, column: str, ticker: str, seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(times))))
    return pl.DataFrame(
        {"ticker": ticker, column: times, "open": close, "high": close * 1.01, "low": close * 0.99,
         "close": close, "volume": rng.uniform(1, 9, len(times))}
    )  # fmt: skip


def test_coins_trade_every_day(tmp_path, path, request_of):
    days = [date(2023, 1, 1) + timedelta(i) for i in range(200)]
    file = tmp_path / "coins.csv"
    pl.concat([walk(days, "date", f"C{i}", i) for i in range(3)]).write_csv(file)
    assert main(["import", str(file), "--data.store", str(path), "--data.calendar", "24/7"]) == 0
    market = load_market(request_of("duckdb", store=path, calendar="24/7"))
    assert (market.bars.height, market.drops) == (600, {})
    saturday = date(2023, 6, 3)
    prices = PriceArray.from_bars(market.bars)
    plan = plan_windows(prices, market.calendar, [saturday], lookback=30, steps=3, seed=0)
    assert plan.planned.height == 3
    assert plan.future[saturday].tolist() == [date(2023, 6, day) for day in (4, 5, 6)]
    cut = prices.window(int(plan.planned["row"][0]), 30)
    held = market.bars.filter(pl.col("ticker") == "C0", pl.col("date") <= saturday)["close"]
    assert cut[:, 3].tolist() == held[-30:].cast(pl.Float32).to_list()


@pytest.mark.parametrize("name", ["XNYS", "24/7"])
def test_five_minute_bars_become_a_market(tmp_path, path, request_of, name):
    calendar = TradingCalendar(name)
    starts = calendar.bar_starts(date(2024, 7, 1), date(2024, 7, 9), 5)
    file = tmp_path / "fives.parquet"
    bars = pl.concat(
        [walk(list(starts.tolist()), "ts", ticker, i) for i, ticker in enumerate("AB")]
    )
    bars = bars.with_columns(pl.col("ts").dt.replace_time_zone("UTC"))
    bars.write_parquet(file)
    assert main(["import", str(file), "--data.store", str(path), "--data.calendar", name]) == 0
    market = load_market(request_of("duckdb", store=path, calendar=name))
    theirs = load_market(request_of("parquet", file, calendar=name))
    assert market.intraday
    assert market.data_hash == theirs.data_hash
    assert market.bars.height == 2 * len(starts)
    assert market.drops == {}
    assert market.bars["ts"].to_list() == sorted(bars["ts"].unique()) * 2
    assert market.bars["date"].unique().sort().to_list() == calendar.sessions(
        date(2024, 7, 1), date(2024, 7, 9)
    )
    limited = load_market(
        request_of(
            "duckdb", store=path, calendar=name, start=date(2024, 7, 3), end=date(2024, 7, 3)
        )
    )
    # The day before Independence Day is a half day of the exchange.
    assert limited.bars.height == 2 * (42 if name == "XNYS" else 288)
