"""Bars after the spans of a run are noise to it: nothing it computes may change with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from places import DATA
from rich.console import Console

from engine.config.settings import DataSettings
from engine.data.market import Market, load_market
from engine.data.source import MEMBERS
from engine.train import rank_ic
from engine.train.prepare import prepare
from engine.train.rank_ic import forecast_rank_ic

END = date(2018, 8, 31)
LEARNED = DATA / "kronos" / "learned"


@pytest.fixture(scope="module")
def noisy(prices, tmp_path_factory) -> Path:
    """The same bars up to `END`, others after it, and a split that adjusts all of them."""
    bars = pl.read_parquet(prices)
    later = pl.col("date") > END
    noise = np.exp(np.random.default_rng(9).normal(0, 0.5, bars.height))
    columns = [
        pl.when(later).then(pl.col(c) * noise).otherwise(pl.col(c))
        for c in ("open", "high", "low", "close")
    ]
    path = tmp_path_factory.mktemp("noisy") / "prices.parquet"
    bars.with_columns(*columns, volume=pl.when(later).then(1.0).otherwise("volume")).write_parquet(
        path
    )
    return path


def test_training_sees_nothing_after_its_spans(settings, prices, noisy, tmp_path):
    both = [
        prepare(settings(tmp_path / "run", **{"data.path": path, "split.validation.end": END}))
        for path in (prices, noisy)
    ]
    assert both[0].market.data_hash != both[1].market.data_hash
    assert both[0].bars.sha256() == both[1].bars.sha256()
    assert str(both[0].split) == str(both[1].split)
    assert both[0].bars.times.max() == np.datetime64(END)


def test_rank_ic_sees_nothing_after_the_span(
    cluster, settings, prices, noisy, tmp_path, monkeypatch
):
    monkeypatch.setattr(rank_ic, "BASELINES", ())
    chosen = settings(
        tmp_path / "run", **{"validation.horizons": "5", "validation.rebalance": "monthly"}
    )
    found = [
        forecast_rank_ic(
            LEARNED,
            load_market(DataSettings(source="parquet", path=path)),
            (date(2018, 4, 2), END),
            chosen,
            Console(quiet=True),
        ).by_forecaster
        for path in (prices, noisy)
    ]
    assert found[0] == found[1]
    # The label of the last month's end would need bars after the span.
    assert found[0]["model"]["5"]["n_dates"] == 4


def test_rank_ic_judges_members_of_the_universe_only(
    cluster, settings, prices, tmp_path, monkeypatch
):
    """Two of four names leave before the dates: they are as if they had no bars after that."""
    monkeypatch.setattr(rank_ic, "BASELINES", ())
    market = load_market(DataSettings(source="parquet", path=prices))
    rows = [("T0", None), ("T1", None), ("T2", date(2018, 3, 1)), ("T3", date(2018, 3, 1))]
    members = pl.DataFrame(
        [(name, date(2017, 1, 3), to) for name, to in rows], schema=MEMBERS, orient="row"
    )
    chosen = settings(
        tmp_path / "run",
        **{
            "validation.horizons": "5",
            "validation.rebalance": "monthly",
            "validation.min_cross_section": "2",
        },
    )

    def judged(market):
        found = forecast_rank_ic(
            LEARNED, market, (date(2018, 4, 2), END), chosen, Console(quiet=True)
        )
        return found.by_forecaster["model"]["5"]

    everyone = judged(market)
    two = market.bars.filter(pl.col("ticker").is_in(["T0", "T1"]))
    alone = judged(Market.from_bars(two, market.calendar))
    # The labels of all are beside the mean of the members at the date, which are these two.
    assert judged(replace(market, members=members)) == alone
    assert alone != everyone
