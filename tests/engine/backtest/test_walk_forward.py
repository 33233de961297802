"""Walk-forward selection reads no return after its decision and finds what is worth finding."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from engine.backtest.selection import choose, splice
from engine.config.settings import SelectionSettings

START = date(2018, 1, 1)
DAYS = [START + timedelta(days=i) for i in range(1000)]
ASOFS = [day for day in DAYS if day.day == 28]


def returns(seed: int, drift: dict[str, float]) -> dict[str, pl.DataFrame]:
    rng = np.random.default_rng(seed)
    return {
        label: pl.DataFrame({"date": DAYS, "net": rng.normal(mean, 0.01, len(DAYS))})
        for label, mean in drift.items()
    }


def weights(labels: list[str]) -> dict[str, pl.DataFrame]:
    return {
        label: pl.DataFrame(
            {"asof": ASOFS, "ticker": [label] * len(ASOFS), "weight": [1.0] * len(ASOFS)}
        )
        for label in labels
    }


def test_the_better_point_is_chosen_once_there_is_a_past():
    found = choose(
        returns(0, {"bad": -0.002, "good": 0.003}), ASOFS, SelectionSettings(min_sessions=100)
    )
    assert found["chosen"].to_list() == ["bad", "good", "good"]
    assert found["sharpe"].to_list()[0] is None
    assert found["fold"].to_list() == [date(y, 1, 28) for y in (2018, 2019, 2020)]


def test_against_a_plain_loop():
    given = returns(3, {"a": 0.0, "b": 0.0, "c": 0.0})
    found = choose(given, ASOFS, SelectionSettings(fold="quarter", min_sessions=60, window=120))
    for asof, chosen in found.select("fold", "chosen").iter_rows():
        past = {
            label: frame.filter(pl.col("date") <= asof)["net"].to_list()[-120:]
            for label, frame in given.items()
        }
        if len(past["a"]) < 60:
            assert chosen == "a"
        else:
            ratio = {label: np.mean(x) / np.std(x, ddof=1) for label, x in past.items()}
            assert chosen == max(ratio, key=lambda label: ratio[label])


def test_later_returns_change_no_earlier_choice():
    given = returns(1, {"a": 0.0, "b": 0.0})
    cut = date(2019, 6, 30)
    rng = np.random.default_rng(9)
    noised = {
        label: frame.with_columns(
            net=pl.when(pl.col("date") > cut)
            .then(pl.Series(rng.normal(0, 0.1, frame.height)))
            .otherwise("net")
        )
        for label, frame in given.items()
    }
    first = choose(given, ASOFS, SelectionSettings(fold="month")).filter(pl.col("fold") <= cut)
    assert first.equals(
        choose(noised, ASOFS, SelectionSettings(fold="month")).filter(pl.col("fold") <= cut)
    )


def test_weights_follow_the_choices():
    given = returns(0, {"bad": -0.002, "good": 0.003})
    spliced = splice(
        weights(list(given)), choose(given, ASOFS, SelectionSettings(min_sessions=100))
    )
    assert spliced["asof"].to_list() == ASOFS
    assert set(spliced.filter(pl.col("asof") < date(2019, 1, 28))["ticker"]) == {"bad"}
    assert set(spliced.filter(pl.col("asof") >= date(2019, 1, 28))["ticker"]) == {"good"}


def test_on_noise_the_best_of_many_in_sample_is_nothing_out_of_sample():
    """The best of 60 random portfolios looks good in hindsight; chosen ahead it earns nothing."""
    hindsight, ahead = [], []
    for seed in range(12):
        given = returns(seed, {f"p{i}": 0.0 for i in range(60)})
        total = {label: frame["net"].mean() / frame["net"].std() for label, frame in given.items()}
        hindsight.append(max(total.values()) * np.sqrt(252))
        choices = choose(given, ASOFS, SelectionSettings(fold="quarter", min_sessions=200))
        bounds = [*choices["fold"].to_list()[1:], DAYS[-1]]
        earned = [
            given[chosen].filter(pl.col("date") > fold, pl.col("date") <= end)["net"].to_numpy()
            for (fold, chosen), end in zip(
                choices.select("fold", "chosen").iter_rows(), bounds, strict=True
            )
        ]
        oos = np.concatenate(earned)
        ahead.append(oos.mean() / oos.std(ddof=1) * np.sqrt(252))
    assert min(hindsight) > 0.7
    assert abs(np.mean(ahead)) < 2 * np.std(ahead, ddof=1) / np.sqrt(len(ahead)) + 0.1


def test_bad_arguments():
    with pytest.raises(ValueError, match="at least one grid point"):
        choose({}, ASOFS, SelectionSettings())
    with pytest.raises(ValueError, match="min_sessions"):
        SelectionSettings(min_sessions=1)
