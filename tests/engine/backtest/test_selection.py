"""Walk-forward selection as a run does it: the grid, what it may know, and what is recorded."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from backtest.costs import Costs
from engine.backtest.registry import strategy_identity, strategy_source
from engine.backtest.selection import select_weights
from engine.config import load_settings
from engine.decisions.strategies import grid_points, load_strategy
from engine.errors import UsageError

COSTS = Costs(round_trip_bps=10, impact_coefficient=0, borrow_bps_per_year=0, aum=1e6)
SPAN = (date(2018, 1, 2), date(2020, 12, 31))
MINE = """
from dataclasses import dataclass
import polars as pl

@dataclass(frozen=True)
class Mine:
    size: float = 1.0

    def weights(self, frame):
        n = pl.len().over("asof")
        return frame.select("asof", "ticker", weight=self.size / n)
"""


def settings(**flags: str):
    given = {
        "strategy.grid": "{quantile: [0.1, 0.3], gross: [0.5, 1.0]}",
        "selection.min_sessions": "120",
        "scoring.horizons": "5,20",
    }
    return load_settings(given | {key.replace("__", "."): text for key, text in flags.items()})


@pytest.fixture(scope="module")
def world(make_bars, calendar):
    bars = make_bars({f"T{n:02d}": SPAN for n in range(12)}, seed=4)
    asofs = calendar.rebalances(*SPAN, "monthly")
    rng = np.random.default_rng(0)
    scores = pl.DataFrame(
        [(day, f"T{n:02d}", 20, rng.normal()) for day in asofs for n in range(12)],
        schema={"asof": pl.Date, "ticker": pl.String, "horizon": pl.Int32, "score": pl.Float64},
        orient="row",
    )
    return bars.select("date", "ticker", "open", "close", "amount"), asofs, scores


def selected(config, prices, asofs, scores):
    books = {p.label: p.strategy.weights(scores) for p in grid_points(config.strategy)}
    return select_weights(
        books, prices, asofs, settings=config, costs=COSTS, until=SPAN[1], periods_per_year=252
    )


def test_the_grid_is_every_combination_over_the_other_parameters():
    points = grid_points(settings(strategy__buffer="0.2").strategy)
    assert [p.label for p in points] == [
        "quantile 0.1, gross 0.5", "quantile 0.1, gross 1.0",
        "quantile 0.3, gross 0.5", "quantile 0.3, gross 1.0",
    ]  # fmt: skip
    assert all(p.parameters["buffer"] == 0.2 for p in points)
    assert points[2].strategy == load_strategy(
        "long_short_quantile", {"quantile": 0.3, "gross": 0.5, "buffer": 0.2}
    )
    (alone,) = grid_points(load_settings({}).strategy)
    assert (alone.label, alone.strategy.quantile) == ("", 0.2)


def test_a_point_that_the_strategy_refuses_is_named():
    with pytest.raises(UsageError, match=r"strategy\.quantile: 0\.9"):
        grid_points(load_settings({"strategy.grid": "{quantile: [0.1, 0.9]}"}).strategy)


def test_weights_are_those_of_the_chosen_point(world):
    prices, asofs, scores = world
    config = settings()
    found = selected(config, prices, asofs, scores)
    books = {p.label: p.strategy.weights(scores) for p in grid_points(config.strategy)}
    folds = found.choices["fold"].to_list()
    assert folds == [min(d for d in asofs if d.year == y) for y in (2018, 2019, 2020)]
    for asof in asofs:
        chosen = found.choices.filter(pl.col("fold") <= asof)["chosen"][-1]
        expected = books[chosen].filter(pl.col("asof") == asof)
        assert found.weights.filter(pl.col("asof") == asof).equals(expected)
    metrics = found.metrics(periods_per_year=252)
    assert metrics["n_points"] == 4
    assert metrics["choices"][0] == {
        "fold": "2018-01-31", "chosen": "quantile 0.1, gross 0.5", "sharpe": None, "n_sessions": 0,
    }  # fmt: skip
    assert metrics["overfitting_probability"] is None  # of four points


def test_ten_points_have_a_probability_of_overfitting(world):
    config = settings(strategy__grid="{gross: [0.1,0.2,0.3,0.4,0.5], quantile: [0.1,0.2]}")
    metrics = selected(config, *world).metrics(periods_per_year=252)
    assert 0 <= metrics["overfitting_probability"] <= 1


def test_the_future_as_noise_changes_no_earlier_choice_or_weight(world):
    prices, asofs, scores = world
    cut = date(2020, 1, 31)
    rng = np.random.default_rng(5)
    later = pl.col("date") > cut
    factor = pl.Series(rng.uniform(0.3, 3, prices.height))
    noised = prices.with_columns(
        pl.when(later).then(pl.col(name) * factor).otherwise(name).alias(name)
        for name in ("open", "close")
    )
    other = scores.with_columns(
        score=pl.when(pl.col("asof") > cut)
        .then(pl.Series(rng.normal(size=scores.height)))
        .otherwise("score")
    )
    one, two = (
        selected(settings(), prices, asofs, scores),
        selected(settings(), noised, asofs, other),
    )
    assert one.choices["sharpe"].drop_nulls().len() == 2
    assert one.choices.equals(two.choices)  # 2020's was made on the cut
    known = pl.col("asof") <= cut
    assert one.weights.filter(known).equals(two.weights.filter(known))
    assert not one.weights.equals(two.weights)


def test_the_embargo_ends_the_past_earlier(world):
    short, long = (
        selected(settings(evaluation__embargo_sessions=n), *world).choices["n_sessions"].to_list()
        for n in ("0", "40")
    )
    assert [a - b for a, b in zip(short[1:], long[1:], strict=True)] == [40, 40]


def test_a_trial_is_told_apart_by_the_content_of_its_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    config = load_settings(
        {"strategy.name": str(path), "strategy.size": "0.5"}, config=empty(tmp_path)
    )
    before = strategy_identity(config)
    assert before["size"] == 0.5
    assert len(before["source_sha256"]) == 64
    path.write_text(MINE.replace("self.size / n", "self.size / n / 2"))
    assert strategy_identity(config)["source_sha256"] != before["source_sha256"]
    assert strategy_source(load_settings({}).strategy) is None


def test_identity_holds_what_makes_another_trial():
    plain = strategy_identity(load_settings({}))
    assert plain == {"name": "long_short_quantile", "quantile": 0.2}
    lots = strategy_identity(load_settings({"simulation.lot_size": "100"}))
    assert lots == plain | {"simulation": {"lot_size": 100.0}}
    walked = strategy_identity(settings())
    assert walked["grid"] == {"quantile": [0.1, 0.3], "gross": [0.5, 1.0]}
    assert walked["selection"]["min_sessions"] == 120
    # A grid point is the same trial as the same parameters run by themselves.
    point = grid_points(load_settings({"strategy.grid": "{quantile: [0.2]}"}).strategy)[0]
    assert strategy_identity(load_settings({}), point.parameters) == plain


def empty(folder):
    path = folder / "empty.yaml"
    path.write_text("run: {name: mine}\n")
    return path
