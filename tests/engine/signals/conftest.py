"""A market with splits, listings and ends, and a backtest of it to be equalled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from engine.config import Settings, load_settings

FIRST, LAST = date(2019, 6, 3), date(2020, 12, 31)
NAMES = [f"T{i:02d}" for i in range(12)]


@pytest.fixture(scope="session")
def noised() -> Callable[..., pl.DataFrame]:
    """noised(bars, asof): what follows `asof` replaced by noise."""

    def make(bars: pl.DataFrame, asof: date, seed: int = 3) -> pl.DataFrame:
        """The same up to `asof`; afterwards other prices, other factors and a third of the names gone."""
        rng = np.random.default_rng(seed)
        future = bars.filter(pl.col("date") > asof, ~pl.col("ticker").is_in(NAMES[::3]))
        wild = pl.Series(np.exp(rng.normal(0, 0.3, future.height)))
        future = future.with_columns(
            *(pl.col(name) * wild for name in ("open", "high", "low", "close", "amount")),
            volume=pl.col("volume") * 7,
            adj_factor=pl.Series(rng.choice([0.25, 1.0], future.height)),
        )
        return pl.concat([bars.filter(pl.col("date") <= asof), future]).sort("ticker", "date")

    return make


@pytest.fixture(scope="session")
def traded(make_bars) -> pl.DataFrame:
    """Twelve names and the index BENCH; T03 lists late, T07 ends early, T05 splits, T09 has a gap."""
    spans = dict.fromkeys([*NAMES, "BENCH"], (FIRST, LAST))
    spans["T03"] = (date(2020, 6, 1), LAST)
    spans["T07"] = (FIRST, date(2020, 9, 18))
    bars = make_bars(spans, seed=11)
    split = (pl.col("ticker") == "T05") & (pl.col("date") >= date(2020, 7, 1))
    # A two-for-one split as vendors record it: prices as traded, the factor back in time.
    bars = bars.with_columns(
        *(
            pl.when(split).then(pl.col(n) / 2).otherwise(n).alias(n)
            for n in ("open", "high", "low", "close")
        ),
        adj_factor=pl.when((pl.col("ticker") == "T05") & ~split).then(0.5).otherwise("adj_factor"),
    )
    gap = (pl.col("ticker") == "T09") & pl.col("date").is_between(
        date(2020, 8, 3), date(2020, 8, 7)
    )
    return bars.filter(~gap)


@pytest.fixture(scope="session")
def configured() -> Callable[..., Settings]:
    """configured(run_dir, path, key=value …): settings of a cheap run on a file of bars."""

    def settings(run_dir: Path, path: Path, **flags: str) -> Settings:
        given = {
            "run.dir": str(run_dir),
            "data.source": "parquet",
            "data.path": str(path),
            "data.benchmark": "BENCH",
            "model.name": "momentum",
            "scoring.lookback": "20",
            "scoring.horizons": "5,10",
            "scoring.rebalance": "weekly",
            "scoring.batch_size": "32",
            "scoring.sampling.paths": "1",
            "features": "volatility_60,momentum_3m,beta_252",
            "evaluation.start": "2020-03-02",
            "evaluation.end": "2020-12-11",
            "baselines.lightgbm.enabled": "false",
            "strategy.quantile": "0.3",
        }
        named = {key.replace("__", "."): value for key, value in flags.items()}
        if "strategy.name" in named:
            given.pop("strategy.quantile")
        return load_settings({**given, **named}, config="live.yaml")

    return settings


@pytest.fixture(scope="session")
def backtest(traded, configured, tmp_path_factory) -> Path:
    """The run folder of a real backtest: panel and weights at the weekly rebalances of 2020."""
    from engine.backtest.run import run_backtest

    folder = tmp_path_factory.mktemp("backtest")
    traded.write_parquet(folder / "bars.parquet")
    settings = configured(folder, folder / "bars.parquet", strategy__quantile="0.3")
    return run_backtest(settings, Console(quiet=True)).folder.path
