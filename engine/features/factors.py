"""Factors: what is known of a ticker at the close of a date, from bars up to it.

1. `_prepared` lays adjusted close, daily return, money and the market's return side by side.
2. Each factor of `FACTORS` is an expression over the bars of one ticker in order of date.
3. A z-score compares a factor with the other tickers of the same date.

In the formulas P is the adjusted close, r(t) = P(t)/P(t−1) − 1 its daily return, m(t) the market's
return between the same two bars, V the money traded. Windows count bars, today's the last of them.
Where a window is not full yet, the value is null.

None reads a price level: multiplying a whole price history by a constant, as a later split or
dividend does, changes nothing but the factors that `reads` money.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import numpy as np
import polars as pl

from engine.data import Market
from engine.data.membership import is_member
from engine.errors import UsageError, nearest
from engine.features.index import adjusted_close, attach_known, equal_weight_index

__all__ = [
    "FACTORS",
    "Factor",
    "check_factors",
    "compute_features",
    "market_features",
]

_TICKERS_AT_A_TIME = 250
_FLAT = 1e-16
"""Variance of daily market returns that is nothing but rounding: no beta against it."""


@dataclass(frozen=True)
class Factor:
    """One column of features.

    Attributes
    ----------
    formula
        In the notation of this module.
    source
        Author, year.
    expression
        Periods a year → expression over close, daily, market and amount of one ticker.
    reads
        "money" where the value scales with dollar volume, else "returns".
    zscore_of
        The factor whose cross-sectional z-score this is; `expression` is that factor's.
    """

    formula: str
    source: str
    expression: Callable[[int], pl.Expr]
    reads: Literal["returns", "money"] = "returns"
    zscore_of: str | None = None


def _momentum(bars: int, skip: int = 0) -> Factor:
    close = pl.col("close")
    change = (close.shift(skip) if skip else close) / close.shift(bars) - 1
    formula = f"P({f't−{skip}' if skip else 't'})/P(t−{bars}) − 1"
    return Factor(formula, "Jegadeesh and Titman, 1993", lambda _: change)


def _reversal(bars: int) -> Factor:
    """What fell comes back."""
    change = pl.col("close") / pl.col("close").shift(bars) - 1
    return Factor(f"−(P(t)/P(t−{bars}) − 1)", "Lehmann, 1990", lambda _: -change)


def _deviation(bars: int, periods_per_year: int) -> pl.Expr:
    return pl.col("daily").rolling_std(bars, min_samples=bars, ddof=1) * periods_per_year**0.5


def _volatility(bars: int) -> Factor:
    return Factor(
        f"std(r, {bars})·√(periods a year)",
        "Ang, Hodrick, Xing and Zhang, 2006",
        lambda year: _deviation(bars, year),
    )


def _volatility_of_volatility(short: int, bars: int) -> Factor:
    """The authors of the source take option-implied volatility."""
    return Factor(
        f"std(volatility_{short}, {bars})",
        "Baltussen, van Bekkum and van der Grient, 2018",
        lambda year: _deviation(short, year).rolling_std(bars, min_samples=bars, ddof=1),
    )


def _drawdown(bars: int) -> Factor:
    """How far below its high."""
    below = pl.col("close") / pl.col("close").rolling_max(bars, min_samples=bars) - 1
    return Factor(f"P(t)/max(P, {bars}) − 1", "George and Hwang, 2004", lambda _: below)


def _money(bars: int) -> Factor:
    mean = pl.col("amount").rolling_mean(bars, min_samples=bars)
    source = "Brennan, Chordia and Subrahmanyam, 1998"
    return Factor(f"mean(V, {bars})", source, lambda _: mean, reads="money")


def _amihud(bars: int) -> Factor:
    """Over the bars of the window with V > 0; null where fewer than two thirds of them traded."""
    impact = pl.when(pl.col("amount") > 0).then(1e6 * pl.col("daily").abs() / pl.col("amount"))
    mean = impact.rolling_mean(bars, min_samples=bars * 2 // 3)
    full = pl.when(pl.col("daily").shift(bars - 1).is_not_null()).then(mean)
    return Factor(f"mean(10⁶·|r|/V, {bars})", "Amihud, 2002", lambda _: full, reads="money")


def _beta(bars: int) -> Factor:
    """Beta of Sharpe (1964), estimated as in the source."""
    both = pl.col("daily").is_not_null() & pl.col("market").is_not_null()
    r, m = (pl.when(both).then(name) for name in ("daily", "market"))
    variance = m.rolling_var(bars, min_samples=bars, ddof=1)
    covariance = pl.rolling_cov(r, m, window_size=bars, min_samples=bars, ddof=1)
    beta = pl.when(variance > _FLAT).then(covariance / variance)
    return Factor(f"cov(r, m, {bars})/var(m, {bars})", "Fama and MacBeth, 1973", lambda _: beta)


def _zscored(name: str, factor: Factor) -> Factor:
    return Factor(
        f"({name} − mean)/std over the members of the date",
        "Asness, Moskowitz and Pedersen, 2013",
        factor.expression,
        zscore_of=name,
    )


_MOMENTUM = {
    "momentum_1m": _momentum(21),
    "momentum_3m": _momentum(63),
    "momentum_6m": _momentum(126),
    "momentum_12m": _momentum(252),
}

FACTORS: Mapping[str, Factor] = MappingProxyType(
    {
        **_MOMENTUM,
        "momentum_12_1": _momentum(252, 21),
        "reversal_5": _reversal(5),
        "volatility_20": _volatility(20),
        "volatility_60": _volatility(60),
        "vol_of_vol_60": _volatility_of_volatility(20, 60),
        "drawdown_60": _drawdown(60),
        "adv_20": _money(20),
        "adv_60": _money(60),
        "amihud_60": _amihud(60),
        "beta_252": _beta(252),
        **{f"{name}_z": _zscored(name, factor) for name, factor in _MOMENTUM.items()},
    }
)


def check_factors(names: Sequence[str]) -> None:
    """Raises UsageError naming the first of `names` that is no factor, and the nearest one."""
    for name in names:
        if name not in FACTORS:
            near = nearest(name, FACTORS)
            raise UsageError(f"features: unknown factor {name!r}; the nearest is {near!r}")


def market_features(market: Market, names: Sequence[str]) -> pl.DataFrame:
    """`compute_features` of a market: its calendar's periods a year, its benchmark for beta, its
    members to compare with."""
    return compute_features(
        market.bars,
        names,
        benchmark=market.benchmark,
        members=market.members,
        periods_per_year=market.calendar.periods_per_year,
    )


def compute_features(
    bars: pl.DataFrame,
    names: Sequence[str],
    *,
    benchmark: pl.DataFrame | None = None,
    members: pl.DataFrame | None = None,
    periods_per_year: int = 252,
) -> pl.DataFrame:
    """Factors at every bar.

    Parameters
    ----------
    bars
        ticker, date, close (as recorded), adj_factor, amount; sorted by (ticker, date).
    names
        Keys of `FACTORS`.
    benchmark
        date, close: the market of beta. None: the equal-weight index of the members.
    members
        ticker, from, to: a z-score compares with the members of its date, so that a ticker which
        joins later does not move it. None: with every ticker that has a bar.
    periods_per_year
        Annualises volatilities: 252, or 365 where every day is a session.

    Returns
    -------
    date, ticker and one f64 column a name, in the order of `bars`.

    Raises
    ------
    UsageError
        A name is no factor.
    """
    check_factors(names)
    if not names:
        return bars.select("date", "ticker")
    frame = _prepared(bars, names, benchmark, members)
    columns = {name: FACTORS[name].expression(periods_per_year) for name in names}
    # The bars of a ticker stay together and in order, so the keys need not be carried along.
    found = pl.concat(
        frame.slice(start, length)
        .lazy()
        .group_by("ticker", maintain_order=True)
        .agg(**columns)
        .select(names)
        .explode(names)
        for start, length in _blocks(bars["ticker"])
    )
    keys = bars.lazy().select("date", "ticker")
    scores = [name for name in names if FACTORS[name].zscore_of]
    inside = None
    if scores and members is not None:
        inside = is_member(bars.select("ticker", asof="date"), members)
    whole = pl.concat([keys, found], how="horizontal")
    return whole.with_columns(_zscore(name, inside) for name in scores).collect()


def _blocks(tickers: pl.Series) -> list[tuple[int, int]]:
    """(first row, rows) of blocks of whole tickers: what is between bars and factors stays small
    beside them."""
    ends = tickers.rle().struct.field("len").cum_sum().to_list()
    cuts = [0, *ends[_TICKERS_AT_A_TIME - 1 : -1 : _TICKERS_AT_A_TIME], *ends[-1:]]
    return [(start, end - start) for start, end in pairwise(cuts)] or [(0, 0)]


def _prepared(
    bars: pl.DataFrame,
    names: Sequence[str],
    benchmark: pl.DataFrame | None,
    members: pl.DataFrame | None,
) -> pl.DataFrame:
    """date, ticker, close, daily, amount and market, in the order of `bars`."""
    assert bars["ticker"].is_sorted(), "bars must be sorted by (ticker, date)"
    market = pl.lit(None, dtype=pl.Float64).alias("market")
    frame = bars.select("date", "ticker", "amount", market, close=adjusted_close())
    if any(name.startswith("beta") for name in names):
        index = equal_weight_index(bars, members) if benchmark is None else benchmark
        frame = attach_known(frame.drop("market"), index, on="date", market="close")
    # A market level at each of the ticker's own bars: over a halt both returns span it.
    same = pl.col("ticker") == pl.col("ticker").shift(1)
    daily, moved = (
        pl.when(same).then(pl.col(name) / pl.col(name).shift(1) - 1) for name in ("close", "market")
    )
    return frame.with_columns(pl.col("ticker").set_sorted(), daily=daily, market=moved)


def _zscore(name: str, inside: pl.Series | None) -> pl.Expr:
    columns = [pl.col("date"), pl.col(name), pl.lit(True if inside is None else inside)]
    return pl.map_batches(columns, _standardised, return_dtype=pl.Float64).alias(name)


def _standardised(columns: Sequence[pl.Series]) -> pl.Series:
    """(value − mean)/std, both over the rows of the date that are inside; null where the value is,
    or all are equal.

    On arrays, because sums of polars that are fast add up in an order that depends on the rows of
    other dates, so that later bars would move the last digit; `bincount` adds row by row.
    """
    dates, values, inside = columns
    if not len(values):
        return values
    day = dates.to_physical().to_numpy()
    code, value = day - day.min(), values.to_numpy()
    counted = ~np.isnan(value) & inside.to_numpy()
    n = np.bincount(code, weights=counted)
    mean = np.bincount(code, weights=np.where(counted, value, 0.0)) / np.maximum(n, 1)
    beside = value - mean[code]
    square = np.where(counted, beside * beside, 0.0)
    variance = np.bincount(code, weights=square) / np.maximum(n - 1, 1)
    spread = np.where(variance > 0, np.sqrt(variance), np.nan)
    return pl.Series(beside / spread[code], nan_to_null=True)
