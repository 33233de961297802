"""Mean label by quantile of the score."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .cross_sections import CrossSections

__all__ = ["monotonicity", "quantile_returns"]

Floats = NDArray[np.float64]

_SCHEMA = {
    "horizon": pl.Int32,
    "quantile": pl.Int32,
    "mean_label": pl.Float64,
    "n": pl.Int64,
}


def quantile_returns(
    panel: pl.DataFrame | CrossSections, judged: pl.DataFrame, *, quantiles: int = 5
) -> pl.DataFrame:
    """Mean label of each score quantile: per date over its names, then over dates.

    A name is in the first quantile whose upper edge (linear interpolation over the date's scores)
    its score does not exceed, as ``pandas.qcut`` has it; names with equal scores share a quantile.
    With fewer names a date than ``quantiles`` (by the median), as many quantiles as names.

    Returns horizon, quantile (1 = lowest scores), mean_label, n (rows), over the dates of
    ``judged`` (asof, horizon).
    """
    sections = CrossSections.of(panel)
    chosen = sections.keys.with_row_index("row").join(
        judged, on=["asof", "horizon"], how="semi", maintain_order="left"
    )
    rows = chosen["row"].to_numpy()
    mask = sections.known("score", "label")[rows]
    score = np.where(mask, sections.column("score")[rows], np.nan)
    label = np.where(mask, sections.column("label")[rows], 0.0)
    sizes = mask.sum(axis=1)
    count = min(quantiles, int(np.median(sizes)) or 1) if len(sizes) else 1
    bucket = np.where(mask, 1, 0)
    for edge in _edges(score, sizes, count):
        bucket += score > edge[:, None]
    found = []
    for horizon in chosen["horizon"].unique().sort().to_list():
        own = (chosen["horizon"] == horizon).to_numpy()
        for quantile in range(1, count + 1):
            inside = bucket[own] == quantile
            n = inside.sum(axis=1)
            held = n > 0
            if held.any():
                means = np.where(inside, label[own], 0.0).sum(axis=1)[held] / n[held]
                found.append((horizon, quantile, float(means.mean()), int(n.sum())))
    return pl.DataFrame(found, schema=_SCHEMA, orient="row")


def _edges(score: Floats, sizes: NDArray[np.int64], count: int) -> Iterator[Floats]:
    """Upper edge of each quantile but the last, one a row; by whole numbers, so that an edge that
    is a score is that score exactly."""
    ordered = np.sort(score, axis=1)
    place = np.arange(len(ordered))
    last = np.maximum(sizes - 1, 0)
    for i in range(1, count):
        low, part = np.divmod(last * i, count)
        below, above = ordered[place, low], ordered[place, np.minimum(low + 1, last)]
        yield below + (above - below) * (part / count)


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
