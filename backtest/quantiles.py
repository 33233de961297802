"""Mean label by quantile of the score."""

from __future__ import annotations

import polars as pl

from .ic import judged_rows

__all__ = ["monotonicity", "quantile_returns"]


def quantile_returns(
    panel: pl.DataFrame, judged: pl.DataFrame, *, quantiles: int = 5
) -> pl.DataFrame:
    """Mean label of each score quantile: per date over its names, then over dates.

    A name is in the first quantile whose upper edge (linear interpolation over the date's scores)
    its score does not exceed, as ``pandas.qcut`` has it; names with equal scores share a quantile.
    With fewer names a date than ``quantiles`` (by the median), as many quantiles as names.

    Returns horizon, quantile (1 = lowest scores), mean_label, n (rows), over the dates of
    ``judged`` (asof, horizon).
    """
    keys = ["asof", "horizon"]
    rows = judged_rows(panel).join(judged.select(keys), on=keys, how="semi")
    sizes = rows.group_by(keys).len()["len"]
    count = min(quantiles, int(sizes.median() or 1))  # type: ignore[arg-type]
    edges = [
        (pl.col("score") > pl.col("score").quantile(i / count, "linear").over(keys)).cast(pl.Int32)
        for i in range(1, count)
    ]
    bucket = pl.sum_horizontal(pl.lit(1, dtype=pl.Int32), *edges)
    return (
        rows.with_columns(quantile=bucket)
        .group_by(*keys, "quantile")
        .agg(pl.col("label").mean(), n=pl.len())
        .group_by("horizon", "quantile")
        .agg(mean_label=pl.col("label").mean(), n=pl.col("n").sum().cast(pl.Int64))
        .sort("horizon", "quantile")
    )


def monotonicity(quantiles: pl.DataFrame) -> float | None:
    """Spearman correlation of quantile number and mean label: 1 when each beats the one below.

    Takes the rows of one horizon of :func:`quantile_returns`; None below three quantiles or where
    they do not differ.
    """
    means = quantiles.sort("quantile")["mean_label"]
    if means.len() < 3 or means.n_unique() < 2:
        return None
    ranks = pl.DataFrame({"place": quantiles["quantile"].sort(), "rank": means.rank("average")})
    return float(ranks.select(pl.corr("place", "rank")).item())
