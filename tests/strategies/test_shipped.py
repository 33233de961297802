"""Every shipped strategy: who is held, how much, and that nothing later matters."""

from __future__ import annotations

import itertools
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from strategies import build_strategy, strategy_names, strategy_parameters

SHIPPED = [name for name in strategy_names() if name != "composed"]
DAY = date(2020, 1, 31)


def frame(
    rows: dict[str, float | tuple[float, ...]], *columns: str, asof: date = DAY
) -> pl.DataFrame:
    """One date: ticker → score, or (score, further columns…)."""
    values = [row if isinstance(row, tuple) else (row,) for row in rows.values()]
    names = ["score", *columns]
    return pl.DataFrame(
        {"asof": [asof] * len(rows), "ticker": list(rows), "horizon": [20] * len(rows)},
        schema_overrides={"horizon": pl.Int32},
    ).with_columns(
        pl.Series(name, [float(row[i]) for row in values], dtype=pl.Float64)
        for i, name in enumerate(names)
    )


def held(weights: pl.DataFrame, asof: date = DAY) -> dict[str, float]:
    rows = weights.filter(pl.col("asof") == asof, pl.col("weight") != 0)
    return {t: round(w, 9) for t, w in zip(rows["ticker"], rows["weight"], strict=True)}


def panel(rng: np.random.Generator, dates: int = 30, names: int = 24) -> pl.DataFrame:
    """Scores that persist a little, and every column a shipped strategy may read."""
    level = rng.normal(size=names)
    frames = []
    for i in range(dates):
        level = 0.7 * level + rng.normal(size=names)
        frames.append(
            pl.DataFrame(
                {
                    "asof": [DAY + timedelta(days=30 * i)] * names,
                    "ticker": [f"T{j:02d}" for j in range(names)],
                    "horizon": pl.Series([20] * names, dtype=pl.Int32),
                    "score": 0.02 * level,
                    "score_std": rng.uniform(0.01, 0.1, names),
                    "momentum_12m": rng.normal(size=names),
                    "volatility_60": rng.uniform(0.1, 0.6, names),
                    "beta_252": rng.uniform(0.4, 1.8, names),
                }
            )
        )
    return pl.concat(frames)


@pytest.mark.parametrize(
    ("name", "parameters", "rows", "columns", "expected"),
    [
        ("long_top_k", {"k": 2}, {"A": 3, "B": 2, "C": 1}, (), {"A": 0.5, "B": 0.5}),
        ("long_top_k", {"k": 9}, {"A": 3, "B": 2}, (), {"A": 0.5, "B": 0.5}),
        ("long_top_k", {"k": 1}, {"A": 1, "B": 1}, (), {}),
        ("top_k_dropout", {"k": 2}, {"A": 3, "B": 2, "C": 1}, (), {"A": 0.5, "B": 0.5}),
        ("score_weighted", {}, {"A": 4, "B": 1, "C": 1}, (), {"A": 0.5, "B": -0.25, "C": -0.25}),
        ("score_weighted", {}, {"A": 1, "B": 1}, (), {}),
        # ranks A 3, B 2, C 1 and 1, 3, 2: the blend puts B first, then A, C at the bottom
        (
            "momentum_blend",
            {"quantile": 0.34},
            {"A": (3, 0.1), "B": (2, 0.3), "C": (1, 0.2)},
            ("momentum_12m",),
            {"B": 0.5, "C": -0.5},
        ),
        # a name without momentum keeps its own rank
        (
            "momentum_blend",
            {"quantile": 0.5},
            {"A": (3, float("nan")), "B": (1, 0.3)},
            ("momentum_12m",),
            {"A": 0.5, "B": -0.5},
        ),
        (
            "inverse_volatility",
            {"quantile": 0.5},
            {"A": (4, 0.1), "B": (3, 0.3), "C": (2, 0.2), "D": (1, 0.2)},
            ("volatility_60",),
            {"A": 0.375, "B": 0.125, "C": -0.25, "D": -0.25},
        ),
        # without a volatility a name is not sized; the rest of its leg takes its place
        (
            "inverse_volatility",
            {"quantile": 0.5},
            {"A": (4, float("nan")), "B": (3, 0.3), "C": (2, 0.2), "D": (1, 0.2)},
            ("volatility_60",),
            {"B": 0.5, "C": -0.25, "D": -0.25},
        ),
        (
            "uncertainty_weighted",
            {"quantile": 0.5},
            {"A": (4, 0.1), "B": (3, 0.3), "C": (2, 0.2), "D": (1, 0.2)},
            ("score_std",),
            {"A": 0.375, "B": 0.125, "C": -0.25, "D": -0.25},
        ),
        # long leg beta 2, short leg beta 1: one third long, two thirds short
        (
            "beta_neutral",
            {"quantile": 0.5},
            {"A": (2, 2.0), "B": (1, 1.0)},
            ("beta_252",),
            {"A": round(1 / 3, 9), "B": -round(2 / 3, 9)},
        ),
        # 0.25 · 0.02 / 0.2² = 0.125 → cap 0.1; −0.01 / 0.25² · 0.25 = −0.04; no dispersion, no bet
        (
            "fractional_kelly",
            {},
            {"A": (0.02, 0.2), "B": (-0.01, 0.25), "C": (0.5, 0.0)},
            ("score_std",),
            {"A": 0.1, "B": -0.04},
        ),
        (
            "fractional_kelly",
            {"cap": 1, "gross": 0.5, "fraction": 1},
            {"A": (0.3, 0.5), "B": (-0.3, 0.5)},
            ("score_std",),
            {"A": 0.25, "B": -0.25},
        ),
        ("equal_weight", {}, {"A": 1, "B": 1, "C": 2, "D": 3}, (), dict.fromkeys("ABCD", 0.25)),
        ("buy_and_hold", {}, {"A": 1, "B": 2}, (), {"A": 0.5, "B": 0.5}),
    ],
)
def test_book(name, parameters, rows, columns, expected):
    weights = build_strategy(name, **parameters).weights(frame(rows, *columns))
    assert held(weights) == expected
    assert set(weights["ticker"]) == set(rows)


def test_volatility_target_is_met_under_the_assumed_correlation():
    rows = {"A": (2, 0.2), "B": (1, 0.4)}
    strategy = build_strategy("volatility_targeted", quantile=0.5, target=0.05, correlation=0.5)
    book = held(strategy.weights(frame(rows, "volatility_60")))
    a, b = book["A"] * 0.2, book["B"] * 0.4
    assert np.sqrt(a * a + b * b + 2 * 0.5 * a * b) == pytest.approx(0.05)
    capped = build_strategy("volatility_targeted", quantile=0.5, target=9.0, gross=1.5)
    book = held(capped.weights(frame(rows, "volatility_60")))
    assert sum(map(abs, book.values())) == pytest.approx(1.5)


def test_buffer_keeps_a_name_that_slipped_a_little_and_drops_one_that_fell():
    later = DAY + timedelta(days=31)
    first = {f"T{i}": 10.0 - i for i in range(10)}
    slipped = first | {"T1": 6.5, "T0": 0.5}  # T1 ranks 3rd, T0 last
    both = pl.concat([frame(first), frame(slipped, asof=later)])
    strategy = build_strategy("long_top_k", k=2, buffer=0.5)
    assert set(held(strategy.weights(both))) == {"T0", "T1"}
    assert set(held(strategy.weights(both), later)) == {"T1", "T2"}
    without = build_strategy("long_top_k", k=2)
    assert set(held(without.weights(both), later)) == {"T2", "T3"}


@pytest.mark.parametrize(
    ("name", "quantity"), [("long_short_quantile", {"quantile": 0.2}), ("long_top_k", {"k": 5})]
)
def test_a_buffer_lowers_churn_and_keeps_the_number_of_names(name, quantity):
    scores = panel(np.random.default_rng(3))

    def names_and_churn(buffer: float) -> tuple[set[int], float]:
        weights = build_strategy(name, buffer=buffer, **quantity).weights(scores)
        books = [
            set(d.filter(pl.col("weight") > 0)["ticker"]) for d in weights.partition_by("asof")
        ]
        moved = [len(b - a) / len(a) for a, b in itertools.pairwise(books)]
        return {len(book) for book in books}, float(np.mean(moved))

    plain_sizes, plain = names_and_churn(0.0)
    sizes, buffered = names_and_churn(1.0)
    assert sizes == plain_sizes
    assert buffered < 0.8 * plain


def test_dropout_exchanges_at_most_drop_names_and_keeps_k():
    weights = build_strategy("top_k_dropout", k=6, drop=2).weights(panel(np.random.default_rng(0)))
    books = [set(d.filter(pl.col("weight") > 0)["ticker"]) for d in weights.partition_by("asof")]
    assert {len(book) for book in books} == {6}
    exchanged = [len(b - a) for a, b in itertools.pairwise(books)]
    assert max(exchanged) == 2


def test_dropout_holds_a_name_for_min_hold_rebalances():
    scores = panel(np.random.default_rng(1))
    weights = build_strategy("top_k_dropout", k=6, drop=3, min_hold=4).weights(scores)
    books = [set(d.filter(pl.col("weight") > 0)["ticker"]) for d in weights.partition_by("asof")]
    ages: dict[str, int] = {}
    for book in books:
        assert all(age >= 4 for name, age in ages.items() if name not in book)
        ages = {name: ages.get(name, 0) + 1 for name in book}


def test_dropout_against_a_plain_loop():
    """The rule as Qlib states it, with pandas-free lists."""
    scores = panel(np.random.default_rng(5), dates=40)
    weights = build_strategy("top_k_dropout", k=5, drop=2).weights(scores)
    book: list[str] = []
    for day in scores.partition_by("asof", maintain_order=True):
        value = dict(zip(day["ticker"], day["score"], strict=True))
        last = sorted(book, key=lambda name: -value[name])
        fresh = sorted((n for n in value if n not in last), key=lambda name: -value[name])
        fresh = fresh[: 2 + 5 - len(last)]
        both = sorted([*last, *fresh], key=lambda name: -value[name])
        sell = [name for name in last if name in both[-2:]]
        buy = fresh[: len(sell) + 5 - len(last)]
        book = [name for name in last if name not in sell] + buy
        asof = day["asof"][0]
        assert set(held(weights, asof)) == set(book)


def test_buy_and_hold_decides_once():
    weights = build_strategy("buy_and_hold").weights(panel(np.random.default_rng(0)))
    assert weights["asof"].n_unique() == 1


@pytest.mark.parametrize("name", SHIPPED)
def test_the_future_as_noise_changes_no_earlier_weight(name):
    rng = np.random.default_rng(7)
    scores = panel(rng)
    cut = sorted(set(scores["asof"]))[18]
    noise = scores.filter(pl.col("asof") > cut).with_columns(
        pl.Series(column, rng.permutation(scores.filter(pl.col("asof") > cut)[column].to_numpy()))
        for column in ("score", "score_std", "momentum_12m", "volatility_60", "beta_252")
    )
    past = scores.filter(pl.col("asof") <= cut)
    strategy = build_strategy(name)
    clean = strategy.weights(scores).filter(pl.col("asof") <= cut)
    noised = strategy.weights(pl.concat([past, noise])).filter(pl.col("asof") <= cut)
    alone = strategy.weights(past)
    assert clean.height > 0
    assert clean.equals(noised)
    assert clean.equals(alone)


@pytest.mark.parametrize("name", SHIPPED)
def test_books_stay_within_gross_and_have_every_scored_name(name):
    scores = panel(np.random.default_rng(11))
    weights = build_strategy(name).weights(scores)
    gross = strategy_parameters(name)["gross"]
    exposure = weights.group_by("asof").agg(pl.col("weight").abs().sum())["weight"]
    assert exposure.max() <= gross + 1e-9
    assert weights.equals(weights.sort("asof", "ticker"))
    dates = weights["asof"].unique()
    assert weights.height == scores.filter(pl.col("asof").is_in(dates.implode())).height


@pytest.mark.parametrize("name", SHIPPED)
def test_a_date_without_any_score_decides_nothing(name):
    lost = panel(np.random.default_rng(2), dates=3).with_columns(
        score=pl.when(pl.col("asof") == pl.col("asof").max()).then(float("nan")).otherwise("score")
    )
    weights = build_strategy(name).weights(lost)
    assert lost["asof"].max() not in set(weights["asof"])


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("momentum_blend", "momentum_12m"),
        ("volatility_targeted", "volatility_60"),
        ("inverse_volatility", "volatility_60"),
        ("beta_neutral", "beta_252"),
        ("uncertainty_weighted", "score_std"),
    ],
)
def test_a_missing_column_is_named_with_its_step(name, column):
    with pytest.raises(ValueError, match=rf"reads '{column}'.*add it to `features`"):
        build_strategy(name).weights(frame({"A": 2, "B": 1}))


@pytest.mark.parametrize("name", ["uncertainty_weighted", "fractional_kelly"])
def test_one_path_has_no_dispersion(name):
    rows = frame({"A": 2, "B": 1}).with_columns(score_std=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(ValueError, match=r"scoring\.sampling\.paths of at least 2"):
        build_strategy(name).weights(rows)


@pytest.mark.parametrize("column", [3, ["momentum_12m"], {"a": 1}, True])
def test_a_column_is_a_name(column):
    with pytest.raises(ValueError, match="must be the name of a column"):
        build_strategy("inverse_volatility", column=column).weights(frame({"A": 2, "B": 1}))


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("long_top_k", {"k": 0}, r"strategy\.k: 0 must be a whole number"),
        ("top_k_dropout", {"k": 2, "drop": 3}, r"strategy\.drop: 3 must be at most strategy\.k"),
        ("top_k_dropout", {"min_hold": 0}, r"strategy\.min_hold: 0"),
        ("long_short_quantile", {"quantile": 0.4, "buffer": 0.5}, r"strategy\.buffer: 0\.5 lets"),
        ("long_top_k", {"buffer": -1}, r"strategy\.buffer: -1"),
        ("fractional_kelly", {"fraction": 2}, r"strategy\.fraction: 2"),
        ("fractional_kelly", {"cap": 0}, r"strategy\.cap: 0"),
        ("volatility_targeted", {"target": -1}, r"strategy\.volatility_target\.target: -1"),
        ("volatility_targeted", {"correlation": 2}, r"correlation: 2"),
        ("momentum_blend", {"momentum_weight": 0}, r"strategy\.score\.weight: 0"),
    ],
)
def test_bad_parameters(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        build_strategy(name, **parameters)
