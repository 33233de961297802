"""Long/short quantile: who is held, on which side, how much."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import LongShortQuantile, build_strategy

JAN, FEB = date(2020, 1, 31), date(2020, 2, 28)


def frame(scores: dict[str, float], *, asof: date = JAN, horizon: int = 20) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "asof": [asof] * len(scores),
            "ticker": list(scores),
            "horizon": [horizon] * len(scores),
            "score": list(scores.values()),
        },
        schema={"asof": pl.Date, "ticker": pl.String, "horizon": pl.Int32, "score": pl.Float64},
    )


def held(weights: pl.DataFrame, asof: date = JAN) -> dict[str, float]:
    rows = weights.filter(pl.col("asof") == asof, pl.col("weight") != 0)
    return dict(zip(rows["ticker"], rows["weight"], strict=True))


@pytest.mark.parametrize(
    ("scores", "quantile", "expected"),
    [
        ({"A": 3, "B": 1}, 0.2, {"A": 0.5, "B": -0.5}),
        ({"A": 3, "B": 2, "C": 1}, 0.5, {"A": 0.5, "C": -0.5}),
        ({"A": 4, "B": 3, "C": 2, "D": 1}, 0.5, {"A": 0.25, "B": 0.25, "C": -0.25, "D": -0.25}),
        # ties: score descending, then ticker ascending, at both ends
        ({"D": 1, "C": 1, "B": 0, "A": 0}, 0.25, {"C": 0.5, "B": -0.5}),
        ({"A": 0, "B": 0, "C": 0, "D": 1}, 0.25, {"D": 0.5, "C": -0.5}),
        ({"A": 1, "B": 1, "C": 1}, 0.2, {}),
        ({"A": 1}, 0.2, {}),
        # a score that is not a number is not a score
        ({"A": 2, "B": float("nan"), "C": 1}, 0.2, {"A": 0.5, "C": -0.5}),
    ],
)
def test_book(scores, quantile, expected):
    assert held(LongShortQuantile(quantile=quantile).weights(frame(scores))) == expected


def test_leg_size_is_the_floor_in_decimal_arithmetic():
    """100 · 0.29 is 28.999… in binary; the leg still holds 29 names."""
    scores = {f"T{i:03d}": float(i) for i in range(100)}
    assert len(held(LongShortQuantile(quantile=0.29).weights(frame(scores)))) == 58


def test_every_scored_name_has_a_row_so_that_a_book_can_be_closed():
    weights = LongShortQuantile().weights(
        pl.concat([frame({"A": 2, "B": 1}), frame({"A": 1, "B": 1}, asof=FEB)])
    )
    assert weights.filter(pl.col("asof") == FEB)["weight"].to_list() == [0.0, 0.0]
    assert weights.columns == ["asof", "ticker", "weight"]
    assert weights.equals(weights.sort("asof", "ticker"))


def test_longest_horizon_decides_unless_one_is_named():
    both = pl.concat([frame({"A": 2, "B": 1}, horizon=5), frame({"A": 1, "B": 2}, horizon=20)])
    assert held(LongShortQuantile().weights(both)) == {"A": -0.5, "B": 0.5}
    assert held(LongShortQuantile(horizon=5).weights(both)) == {"A": 0.5, "B": -0.5}
    with pytest.raises(ValueError, match=r"strategy\.horizon: 7 .*\[5, 20\]"):
        LongShortQuantile(horizon=7).weights(both)


def test_empty_frame_gives_no_weights():
    assert LongShortQuantile().weights(frame({})).height == 0


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.integers(-3, 3), min_size=1, max_size=30),
    quantile=st.floats(0.01, 0.5),
    gross=st.floats(0.1, 3),
)
def test_book_is_neutral_and_within_gross(scores, quantile, gross):
    names = {f"T{i:02d}": float(score) for i, score in enumerate(scores)}
    weights = LongShortQuantile(quantile=quantile, gross=gross).weights(frame(names))["weight"]
    assert abs(weights.sum()) < 1e-9
    expected = gross if len(set(scores)) > 1 else 0.0
    assert weights.abs().sum() == pytest.approx(expected)
    assert (weights > 0).sum() == (weights < 0).sum()


def test_later_scores_change_no_earlier_weight():
    january = frame({"A": 3, "B": 2, "C": 1})
    calm = LongShortQuantile().weights(
        pl.concat([january, frame({"A": 3, "B": 2, "C": 1}, asof=FEB)])
    )
    noisy = LongShortQuantile().weights(
        pl.concat([january, frame({"A": -9, "B": 7, "D": 70}, asof=FEB)])
    )
    assert held(calm) == held(noisy)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"quantile": 0}, r"strategy\.quantile: 0 must be above 0"),
        ({"quantile": 0.51}, r"strategy\.quantile: 0\.51 must be .* at most 0\.5"),
        ({"quantile": float("nan")}, r"strategy\.quantile: nan"),
        ({"quantile": "half"}, r"strategy\.quantile: 'half'"),
        ({"gross": -1}, r"strategy\.gross: -1 must be a positive"),
        ({"horizon": 0}, r"strategy\.horizon: 0 must be a whole number"),
        ({"horizon": 2.5}, r"strategy\.horizon: 2\.5"),
        ({"quantil": 0.2}, r"strategy\.quantil: .* did you mean 'quantile'\?"),
    ],
)
def test_bad_parameters_name_the_key_and_the_rule(parameters, message):
    with pytest.raises(ValueError, match=message):
        build_strategy("long_short_quantile", **parameters)


def test_unknown_strategy_names_the_nearest():
    with pytest.raises(ValueError, match=r"strategy\.name: .*did you mean 'long_short_quantile'"):
        build_strategy("long_short_quantiles")
