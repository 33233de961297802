"""One panel of a chart: what is drawn into its axes, and the ticks and grid around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from .page import GREY, INK, PAPER, RULE

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

__all__ = [
    "GAP",
    "HEADING",
    "MAX_POINTS",
    "Panel",
    "Values",
    "numbers",
    "round_ticks",
    "spelled",
    "thinned",
]

MAX_POINTS = 1000
"""Of a line or a row of bars: a screen shows no more, and a long daily run's page stays small."""
HEADING, GAP = 22, 8
"""Pixels above and below the axes."""
_DASHES: dict[str, Any] = {"solid": "-", "dash": (0, (4, 2)), "dot": (0, (2, 2))}
_SQUARE = {"ls": "", "marker": "s", "ms": 11, "markevery": [1]}

Values = Sequence[Any] | np.ndarray | pl.Series


class Panel:
    """One pair of axes.

    Parameters
    ----------
    axes
        Empty ones.
    places
        Turns values of the x-axis into numbers.
    legend
        Label → look of a line: what is drawn adds its own, once for all panels.
    height
        Of the axes, in pixels.
    heading
        A few words above it: the quantity and its unit.
    unit
        Of the y-axis: ``%`` for shares, or empty.
    zero
        Show 0 wherever the values lie.
    ticks
        Of the y-axis, where they are fixed: the first is its foot, the last close to its top.
    names
        Of the places 0, 1, 2 … of the y-axis, from above.
    """

    def __init__(
        self,
        axes: Axes,
        places: Callable[[Values], np.ndarray],
        legend: dict[str, dict[str, Any]],
        height: float,
        heading: str = "",
        *,
        unit: str = "",
        zero: bool = False,
        ticks: Sequence[float] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.axes, self.height, self.heading = axes, height, heading
        self.outer = height + GAP + (HEADING if heading else 0)
        self._places, self._legend = places, legend
        self._unit, self._zero = unit, zero
        self._ticks, self._names = ticks, list(names)
        self._drawn: list[str] = []
        axes.set_axis_off()  # a sheet writes the labels: Matplotlib's ticks take most of its time

    def line(
        self,
        x: Values,
        y: Values,
        color: str,
        label: str = "",
        *,
        width: float = 1.6,
        dash: str = "solid",
        steps: bool = False,
    ) -> None:
        """A line with gaps where values are missing; `steps` keeps each value level."""
        look: dict[str, Any] = {"color": color, "ls": _DASHES[dash], "lw": width}
        style = "steps-mid" if steps else "default"
        (drawn,) = self.axes.plot(*thinned(self._places(x), numbers(y)), drawstyle=style, **look)
        drawn.get_path().simplify_threshold = 0.3  # of a pixel
        self._name(label, look)

    def area(self, x: Values, y: Values, color: str) -> None:
        """A shade between values and 0."""
        across, along = thinned(self._places(x), numbers(y))
        self.axes.fill_between(across, along, color=color, alpha=0.15, lw=0)

    def bars(
        self, x: Values, y: Values, color: str, label: str = "", *, place: int = 0, of: int = 1
    ) -> None:
        """Bars from 0, number `place` of the `of` that share the room of each x."""
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path

        across, along = thinned(self._places(x), numbers(y))
        room = 0.84 * (np.diff(np.unique(across)).min() if len(across) > 1 else 20.0)
        room = max(room, (across.max() - across.min()) / MAX_POINTS) if len(across) else room
        known = np.isfinite(along)
        left = (across - room / 2 + place * room / of)[known]
        zero, right = np.zeros(len(left)), left + room / of
        corners = [(left, zero), (left, along[known]), (right, along[known]), (right, zero)]
        outlines = np.stack([np.column_stack(corner) for corner in corners], axis=1)
        # One path: thousands of rectangles, each an artist of its own, take seconds and space.
        codes = np.tile([Path.MOVETO, *[Path.LINETO] * 3], len(left)).astype(Path.code_type)
        if len(left):
            path = Path(outlines.reshape(-1, 2), codes)
            self.axes.add_patch(PathPatch(path, facecolor=color, lw=0))
        self._name(label, {"color": color, **_SQUARE})

    def dots(
        self,
        x: Values,
        y: Values,
        color: str,
        label: str = "",
        *,
        marker: str = "o",
        size: float = 8,
        hollow: Sequence[bool] | None = None,
    ) -> None:
        """Dots, those of `hollow` as open circles."""
        across, along = self._places(x), numbers(y)
        empty = np.zeros(len(across), bool) if hollow is None else np.asarray(hollow, bool)
        look: dict[str, Any] = {"color": color, "marker": marker, "ls": "", "ms": size, "mew": 1.3}
        for which, face in ((~empty, color), (empty, PAPER)):
            if which.any():
                self.axes.plot(across[which], along[which], mfc=face, zorder=3, **look)
        face = PAPER if len(empty) and empty.all() else color
        self._name(label, look | {"mfc": face, "markevery": [1]})

    def whiskers(
        self,
        at: Values,
        bounds: Sequence[Sequence[float] | None],
        color: str,
        *,
        flat: bool = False,
    ) -> None:
        """Intervals at places of the x-axis or, `flat`, of the y-axis; None: not known."""
        pairs = numbers([(None, None) if b is None else b for b in bounds]).reshape(-1, 2)
        across = numbers(at) if flat else self._places(at)
        known = np.isfinite(pairs).all(axis=1)
        draw = self.axes.hlines if flat else self.axes.vlines
        draw(across[known], pairs[known, 0], pairs[known, 1], color=color, lw=1.8)

    def limit(self, value: float, *, upright: bool = False) -> None:
        """A dotted line across or, `upright`, from top to bottom."""
        draw = self.axes.axvline if upright else self.axes.axhline
        draw(value, color=INK, lw=1.2, ls=_DASHES["dot"])

    def band(self, low: float, high: float, color: str, label: str) -> None:
        """A shaded band across."""
        self.axes.axhspan(low, high, color=color, alpha=0.45, lw=0)
        self._name(label, {"color": color, "alpha": 0.45, **_SQUARE})

    def scale(self) -> tuple[float, float, np.ndarray, list[str]]:
        """Bottom and top of the y-axis, its ticks and their labels."""
        if self._names:
            ticks = np.arange(len(self._names), dtype=float)
            return len(ticks) - 0.5, -0.5, ticks, self._names
        if self._ticks is not None:
            ticks = numbers(self._ticks)
            top = ticks[-1] + 0.03 * (ticks[-1] - ticks[0])
            return ticks[0], top, ticks, spelled(ticks, self._unit)
        low, high = self._extent()
        if self._zero:
            low, high = min(low, 0.0), max(high, 0.0)
        pad = 0.06 * (high - low)
        low, high = low - pad * (low != 0), high + pad * (high != 0)
        if low == high:
            low, high = low - 0.5, high + 0.5
        ticks = round_ticks(low, high, max(4, min(7, round(self.height / 20))))
        return low, high, ticks, spelled(ticks, self._unit)

    def rule(self, lines: np.ndarray, *, upright: bool) -> list[Artist]:
        """Set the limits of the y-axis and draw the grid, also an upright line at 0 if `upright`.

        Returns what is drawn, to be removed when the sheet is laid out again.
        """
        low, high, ticks, _ = self.scale()
        self.axes.set_ylim(low, high)
        left, right = self.axes.get_xlim()
        for artist in self.axes.get_children():
            artist.set_clip_on(False)
        grid = [((x, low), (x, high)) for x in lines] + [((left, y), (right, y)) for y in ticks]
        zeros = [((left, 0.0), (right, 0.0))] if not self._names and low <= 0 <= high else []
        if upright and left < 0 < right:
            zeros.append(((0.0, low), (0.0, high)))
        return [self._segments(grid, RULE, 0.5), *(self._segments([z], GREY, 0.9) for z in zeros)]

    def description(self) -> str:
        """Heading, names of what is drawn, and the range of its values."""
        drawn = f" ({', '.join(dict.fromkeys(self._drawn))})" if self._drawn else ""
        if self._names:
            return f"Rows{drawn}: {', '.join(self._names)}."
        ends = spelled(np.array(self._extent()), self._unit)
        return f"{self.heading or 'Values'}{drawn}, from {ends[0]} to {ends[1]}."

    def _extent(self) -> tuple[float, float]:
        """Lowest and highest value drawn; 0 and 1 where nothing is."""
        low, high = map(float, self.axes.dataLim.intervaly)
        return (low, high) if np.isfinite([low, high]).all() else (0.0, 1.0)

    def _segments(self, pairs: list[Any], color: str, order: float) -> Artist:
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path

        codes = [Path.MOVETO, Path.LINETO] * len(pairs)
        path = Path([point for pair in pairs for point in pair], codes)
        look = {"fill": False, "ec": color, "lw": 0.8, "zorder": order, "clip_on": False}
        return self.axes.add_artist(PathPatch(path, **look))

    def _name(self, label: str, look: dict[str, Any]) -> None:
        if label:
            self._drawn.append(label)
            self._legend.setdefault(label, look)


def spelled(ticks: np.ndarray, unit: str = "") -> list[str]:
    """Numbers as text with the decimals that tell them apart; shares in percent for ``%``."""
    values = 100 * ticks if unit == "%" else ticks
    step = np.diff(values).min() if len(values) > 1 else np.abs(values).max(initial=1.0)
    digits = next(
        (d for d in range(6) if np.abs(np.round(values, d) - values).max(initial=0) < step / 50), 6
    )
    texts = [f"{value:,.{digits}f}".replace("-", "−") for value in values + 0.0]
    return [text + unit for text in texts]


def thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `MAX_POINTS` of them: of a longer line the lowest and highest of every stretch."""
    if len(x) <= MAX_POINTS:
        return x, y
    known = np.isfinite(y)
    x, y = x[known], y[known]
    stretch = np.arange(len(x)) * (MAX_POINTS // 2 - 1) // max(len(x), 1)
    order = np.lexsort((y, stretch))
    lowest = np.flatnonzero(np.diff(stretch, prepend=-1))
    highest = np.append(lowest[1:], len(x)) - 1
    kept = np.unique([*order[lowest], *order[highest], 0, len(x) - 1])
    return x[kept], y[kept]


def numbers(values: Values) -> np.ndarray:
    """An array of floats; None becomes NaN."""
    return np.array(values, dtype=float)


def round_ticks(low: float, high: float, most: int) -> np.ndarray:
    """Round numbers from `low` to `high`, about `most` of them."""
    from matplotlib.ticker import MaxNLocator

    ticks = numbers(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    slack = 1e-9 * (high - low)
    return ticks[(low - slack <= ticks) & (ticks <= high + slack)]
