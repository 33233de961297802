from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.features import build_panel, compute_features, compute_labels, fold_of

FEATURES = ["momentum_1m", "volatility_20"]
HORIZONS = [5, 20]


@pytest.fixture
def asofs(nyse) -> list[date]:
    return nyse.rebalances(date(2018, 6, 1), date(2019, 12, 31), "monthly")


@pytest.fixture
def scores(random_market, asofs) -> pl.DataFrame:
    keys = pl.DataFrame({"asof": asofs}).join(
        pl.DataFrame({"ticker": random_market.tickers}), how="cross"
    )
    rows = keys.join(pl.DataFrame({"horizon": HORIZONS}), how="cross")
    return rows.with_columns(
        score=pl.int_range(pl.len()).cast(pl.Float64),
        status=pl.when(pl.col("ticker") == "B").then(pl.lit("skipped")).otherwise(pl.lit("ok")),
    ).sample(fraction=1, shuffle=True, seed=3)


def panel_of(scores, market, trained_until=None) -> pl.DataFrame:
    return build_panel(
        scores,
        market,
        feature_names=FEATURES,
        horizons=HORIZONS,
        trained_until=trained_until,
    )


def test_one_row_per_score_sorted_with_every_column(scores, random_market):
    panel = panel_of(scores, random_market)
    assert panel.height == scores.height
    keys = panel.select("asof", "ticker", "horizon")
    assert keys.equals(keys.sort("asof", "ticker", "horizon"))
    assert keys.is_unique().all()
    assert panel.columns == [
        *scores.columns,
        *FEATURES,
        "label",
        "label_next_open",
        "total_return",
        "matures",
        "mature",
        "label_flag",
        "volatility_regime",
        "trend_regime",
        "fold",
        "in_training",
    ]


def test_each_part_is_the_one_computed_alone(scores, random_market, asofs):
    panel = panel_of(scores, random_market)
    features = compute_features(random_market.bars, FEATURES).rename({"date": "asof"})
    labels = compute_labels(random_market, asofs, HORIZONS)
    known = panel.drop_nulls("total_return")
    assert known.height > 50
    on = ["asof", "ticker"]
    assert_frame_equal(
        known.select(*on, *FEATURES),
        known.select(on).join(features, on=on, how="left", maintain_order="left"),
    )
    on = [*on, "horizon"]
    assert_frame_equal(
        known.select(labels.columns),
        known.select(on).join(labels, on=on, how="left", maintain_order="left"),
    )


def test_a_ticker_without_a_bar_keeps_its_row_without_values(scores, random_market):
    """B lists in March 2019: its scores before that are rows, whatever made them."""
    early = panel_of(scores, random_market).filter(
        (pl.col("ticker") == "B") & (pl.col("asof") < date(2019, 3, 1))
    )
    assert early.height > 0
    for column in (*FEATURES, "label", "total_return", "mature"):
        assert early[column].null_count() == early.height
    assert early["volatility_regime"].null_count() < early.height


@pytest.mark.parametrize(
    ("trained_until", "expected"),
    [
        (None, []),
        (date(2018, 6, 29), ["2018-06"]),
        (date(2018, 7, 30), ["2018-06"]),
        (date(2018, 7, 31), ["2018-06", "2018-07"]),
    ],
)
def test_in_training_is_up_to_the_date_inclusive(scores, random_market, trained_until, expected):
    panel = panel_of(scores, random_market, trained_until)
    assert panel["in_training"].null_count() == 0
    assert panel.filter("in_training")["fold"].unique().sort().to_list() == expected


def test_a_horizon_that_is_not_labelled_keeps_null_labels(scores, random_market):
    panel = build_panel(scores, random_market, feature_names=[], horizons=[5], trained_until=None)
    assert panel.filter(pl.col("horizon") == 20)["matures"].null_count() > 0
    assert panel.filter(pl.col("horizon") == 5)["label"].null_count() < panel.height / 2


def test_no_feature_or_regime_sees_past_its_asof(scores, random_market, with_noise_after, asofs):
    cut = asofs[-5]
    early = scores.filter(pl.col("asof") <= cut)
    columns = ["asof", "ticker", "horizon", *FEATURES, "volatility_regime", "trend_regime"]
    assert_frame_equal(
        panel_of(early, random_market).select(columns),
        panel_of(early, with_noise_after(random_market, cut)).select(columns),
        check_exact=True,
    )


def test_folds_are_calendar_months():
    days = pl.DataFrame({"asof": [date(2018, 1, 31), date(2018, 12, 3), date(2019, 1, 2)]})
    assert days.select(fold=fold_of())["fold"].to_list() == ["2018-01", "2018-12", "2019-01"]
    assert days.select(fold=fold_of(pl.col("asof")))["fold"].to_list()[0] == "2018-01"
