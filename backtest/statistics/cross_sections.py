"""Cross-sections of a panel as dense arrays: one row a (asof, horizon), one cell a name.

A rank correlation over thousands of dates is a sort along rows; ranks are kept, because the score's
are needed beside every label and factor.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["CrossSections", "average_ranks", "row_correlation"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_KEYS = ["asof", "horizon"]


class CrossSections:
    """Dense columns of a panel.

    Parameters
    ----------
    panel
        asof, horizon, status, mature and whatever columns are asked for; any order of rows.

    Attributes
    ----------
    keys
        asof, horizon, any_mature: one row a cross-section, sorted by (asof, horizon).
    usable
        (G, M) cells whose status is ok and whose label is mature.
    """

    def __init__(self, panel: pl.DataFrame) -> None:
        self._panel = panel
        asof = panel["asof"].to_physical().to_numpy().astype(np.int64)
        horizon = panel["horizon"].to_numpy().astype(np.int64)
        group, codes = _codes(asof, horizon)
        sizes = np.bincount(group, minlength=len(codes))
        order = np.argsort(group, kind="stable")
        starts = np.cumsum(sizes) - sizes
        place = np.empty(len(group), dtype=np.int64)
        place[order] = np.arange(len(group)) - np.repeat(starts, sizes)
        self._cell = (group, place)
        self._shape = (len(codes), int(sizes.max()) if len(sizes) else 0)
        self._columns: dict[str, Floats] = {}
        self._ranks: dict[tuple[str, bytes], Floats] = {}
        mature = panel["mature"].fill_null(value=False).to_numpy()
        good = (panel["status"] == "ok").fill_null(value=False).to_numpy()
        self.usable = self._dense_mask(mature & good)
        any_mature = np.zeros(len(codes), dtype=bool)
        any_mature[group[mature]] = True
        self.keys = pl.DataFrame(
            {
                "asof": pl.Series(codes[:, 0].astype(np.int32), dtype=pl.Int32).cast(pl.Date),
                "horizon": pl.Series(codes[:, 1]).cast(panel.schema["horizon"]),
                "any_mature": any_mature,
            }
        )

    @classmethod
    def of(cls, panel: pl.DataFrame | CrossSections) -> CrossSections:
        """The same object, or that of a frame."""
        return panel if isinstance(panel, CrossSections) else cls(panel)

    @property
    def columns(self) -> list[str]:
        """Those of the panel."""
        return self._panel.columns

    @property
    def frame(self) -> pl.DataFrame:
        """The panel itself."""
        return self._panel

    def column(self, name: str) -> Floats:
        """(G, M) values, NaN where there is none or it is not finite."""
        if name not in self._columns:
            values = self._panel[name].cast(pl.Float64).to_numpy()
            self._columns[name] = self.dense(np.where(np.isfinite(values), values, np.nan))
        return self._columns[name]

    def dense(self, values: Floats) -> Floats:
        """(G, M) array of one value a row of the panel; NaN in cells without a row."""
        cells = np.full(self._shape, np.nan)
        cells[self._cell] = values
        return cells

    def rows(self, mask: Mask) -> Mask:
        """(rows of the panel,) what a (G, M) mask says of each row."""
        return mask[self._cell]

    def known(self, *names: str) -> Mask:
        """(G, M) usable cells in which all columns are finite."""
        mask = self.usable.copy()
        for name in names:
            mask &= np.isfinite(self.column(name))
        return mask

    def ranks(self, name: str, mask: Mask) -> Floats:
        """(G, M) average ranks of a column among the cells of ``mask``, NaN outside."""
        key = (name, np.packbits(mask).tobytes())
        if key not in self._ranks:
            self._ranks[key] = average_ranks(np.where(mask, self.column(name), np.nan))
        return self._ranks[key]

    def codes(self, name: str) -> NDArray[np.int64]:
        """(G, M) whole numbers that tell apart the values of a column; −1 where it is null."""
        values = self._panel[name].cast(pl.String).rank("dense").cast(pl.Int64).fill_null(-1)
        cells = np.full(self._shape, -1, dtype=np.int64)
        cells[self._cell] = values.to_numpy()
        return cells

    def _dense_mask(self, values: Mask) -> Mask:
        cells = np.zeros(self._shape, dtype=bool)
        cells[self._cell] = values
        return cells


def _codes(
    asof: NDArray[np.int64], horizon: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of the group of each row, and (asof, horizon) of each group, sorted."""
    if not len(asof):
        return np.zeros(0, dtype=np.int64), np.zeros((0, 2), dtype=np.int64)
    horizons, column = np.unique(horizon, return_inverse=True)
    code = (asof - asof.min()) * len(horizons) + column
    present = np.flatnonzero(np.bincount(code))
    number = np.zeros(int(code.max()) + 1, dtype=np.int64)
    number[present] = np.arange(len(present))
    days, columns = np.divmod(present, len(horizons))
    return number[code], np.column_stack([days + asof.min(), horizons[columns]])


def average_ranks(values: Floats) -> Floats:
    """Ranks 1..n along each row, the average for ties; NaN stays NaN."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    width = values.shape[1]
    ranks = np.broadcast_to(np.arange(1.0, width + 1), values.shape).copy()
    tied = ordered[:, 1:] == ordered[:, :-1]
    rows = np.flatnonzero(tied.any(axis=1))
    if len(rows):
        same = np.zeros((len(rows), width), dtype=bool)
        same[:, 1:] = tied[rows]
        place = np.arange(width)
        first = np.maximum.accumulate(np.where(same, 0, place), axis=1)
        ends = np.ones_like(same)
        ends[:, :-1] = ~same[:, 1:]
        last = np.where(ends, place, width)
        last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
        ranks[rows] = (first + last) / 2 + 1
    ranks[np.isnan(ordered)] = np.nan
    found = np.empty_like(ranks)
    np.put_along_axis(found, order, ranks, axis=1)
    return found


def row_correlation(a: Floats, b: Floats, mask: Mask) -> Floats:
    """Pearson correlation in [−1, 1] of each row over the cells of ``mask``.

    NaN where fewer than two cells are left or either side does not vary.
    """
    n = np.maximum(mask.sum(axis=1, keepdims=True), 1)
    sums = []
    varies = np.ones(len(a), dtype=bool)
    for values in (a, b):
        known = np.where(mask, values, 0.0)
        low = np.where(mask, values, np.inf).min(axis=1, initial=np.inf)
        high = np.where(mask, values, -np.inf).max(axis=1, initial=-np.inf)
        varies &= low < high
        sums.append(np.where(mask, values - known.sum(axis=1, keepdims=True) / n, 0.0))
    x, y = sums
    scale = np.sqrt(np.einsum("gm,gm->g", x, x) * np.einsum("gm,gm->g", y, y))
    varies &= scale > 0
    found = np.einsum("gm,gm->g", x, y) / np.where(varies, scale, 1.0)
    return np.where(varies, np.clip(found, -1.0, 1.0), np.nan)
