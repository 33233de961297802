"""Strategies written as steps, the way a configuration does."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies import STEPS, build_strategy

from .test_shipped import DAY, frame, held, panel


def test_a_composition_equals_the_shipped_strategy_of_the_same_steps():
    scores = panel(np.random.default_rng(0))
    composed = build_strategy(
        "composed",
        select={"step": "tails", "quantile": 0.2, "buffer": 0.5},
        weigh={"step": "inverse_volatility", "column": "volatility_60"},
    )
    plain = build_strategy("long_short_quantile", quantile=0.2, buffer=0.5).weights(scores)
    weights = composed.weights(scores)
    sides = weights.select(pl.col("weight").sign())
    assert sides.equals(plain.select(pl.col("weight").sign()))
    assert not weights.equals(plain)


def test_constraints_apply_in_order():
    rows = {"A": 9, "B": 5, "C": 1, "D": 0}
    strategy = build_strategy(
        "composed",
        select={"step": "sign", "reference": "mean"},
        weigh="by_score",
        constrain=[{"step": "max_name", "limit": 0.2}, {"step": "max_net", "limit": 0.0}],
    )
    book = held(strategy.weights(frame(rows)))
    assert max(map(abs, book.values())) <= 0.2
    assert sum(book.values()) == pytest.approx(0, abs=1e-9)


def test_schedule_keeps_every_nth_rebalance():
    scores = panel(np.random.default_rng(0), dates=7)
    strategy = build_strategy(
        "composed", select="everyone", weigh="equal", net=1.0, schedule={"step": "every", "n": 3}
    )
    dates = sorted(set(scores["asof"]))
    assert sorted(set(strategy.weights(scores)["asof"])) == [dates[0], dates[3], dates[6]]


def test_a_neutral_book_with_an_empty_leg_holds_nothing():
    strategy = build_strategy(
        "composed", select={"step": "sign", "reference": "zero"}, weigh="equal"
    )
    assert held(strategy.weights(frame({"A": 2, "B": 1}))) == {}


def test_beta_neutral_leaves_a_book_whose_betas_cannot_offset():
    rows = {"A": (2, -0.5), "B": (1, 1.0)}
    strategy = build_strategy("beta_neutral", quantile=0.5)
    assert held(strategy.weights(frame(rows, "beta_252"))) == {"A": 0.5, "B": -0.5}


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.integers(-3, 3), min_size=1, max_size=20),
    select=st.sampled_from(sorted(STEPS["select"])),
    weigh=st.sampled_from(["equal", "by_score", "inverse_volatility"]),
    net=st.sampled_from([0.0, 1.0, 0.3, None]),
    limit=st.floats(0.01, 1),
)
def test_any_composition_is_finite_and_within_its_limits(scores, select, weigh, net, limit):
    rows = {f"T{i:02d}": (float(s), 0.1 + i / 50) for i, s in enumerate(scores)}
    strategy = build_strategy(
        "composed",
        select=select,
        weigh=weigh,
        net=net,
        constrain=[{"step": "max_name", "limit": limit}],
    )
    weights = strategy.weights(frame(rows, "volatility_60"))["weight"]
    assert weights.is_finite().all()
    assert weights.abs().sum() <= 1 + 1e-9
    assert (weights.abs().max() or 0) <= limit + 1e-12


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, r"strategy\.select: this step is missing; there are: tails"),
        ({"select": "tails"}, r"strategy\.weigh: this step is missing"),
        ({"select": "tail", "weigh": "equal"}, r"no step 'tail'; did you mean 'tails'"),
        ({"select": {"quantile": 0.1}, "weigh": "equal"}, r"must name a step"),
        (
            {"select": {"step": "tails", "quantil": 0.1}, "weigh": "equal"},
            r"strategy\.select\.quantil: tails has no such parameter; did you mean 'quantile'",
        ),
        ({"select": "tails", "weigh": "equal", "grosss": 1}, r"strategy\.grosss: .* 'gross'"),
        ({"select": "tails", "weigh": "equal", "gross": 0}, r"strategy\.gross: 0"),
        ({"select": "tails", "weigh": "equal", "net": 2}, r"strategy\.net: 2 must be at most"),
        ({"select": "tails", "weigh": "equal", "constrain": "max_name"}, r"must be a list"),
        (
            {"select": "tails", "weigh": "equal", "schedule": {"step": "every", "n": 0}},
            r"strategy\.schedule\.n: 0",
        ),
        (
            {"select": "tails", "weigh": "equal", "constrain": [{"step": "max_name", "limit": 0}]},
            r"strategy\.max_name\.limit: 0",
        ),
    ],
)
def test_bad_compositions_name_the_key_and_the_rule(parameters, message):
    with pytest.raises(ValueError, match=message):
        build_strategy("composed", **parameters)


def test_a_step_that_reads_a_label_is_refused():
    strategy = build_strategy(
        "composed", select="tails", weigh={"step": "inverse_volatility", "column": "label"}
    )
    with pytest.raises(ValueError, match="labels are of the future"):
        strategy.weights(frame({"A": 2, "B": 1}, asof=DAY))
