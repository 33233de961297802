"""Charts drawn once: the same figure becomes SVG for a page and PNG for a file.

1. A chart fills the panels of a `Sheet` with lines, bars, dots and whiskers.
2. `Sheet._lay_out` gives them ticks, a grid, a legend and a place at a width in pixels.
3. `Sheet.svg` writes the figure for wide and for narrow screens, `Sheet.png` as a picture that has
   its title and its note in it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .page import GREY, INK
from .panel import GAP, HEADING, Panel, Values, numbers, round_ticks, spelled
from .svg import page_svg, printable

if TYPE_CHECKING:
    from matplotlib.artist import Artist

__all__ = ["Sheet"]

WIDE, NARROW = 860, 360
_TITLE, _LEGEND, _FOOT, _LABEL, _NOTE, _RIGHT = 36, 22, 24, 20, 28, 18
"""Pixels around the panels: above and below them, and at their right."""
_LETTER = 7.3
_SIZES = ((0, ""), (3, "k"), (6, "M"), (9, "B"), (12, "T"))
_STYLE: dict[str, Any] = {
    "font.size": 12,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollar signs
    "svg.fonttype": "none",
    "svg.hashsalt": "chart",
}


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


class Sheet:
    """Panels under each other that share their x-axis.

    Parameters
    ----------
    x
        ``date``, ``number``, ``log`` (amounts above 0), or the names of the places 0, 1, 2 ….
    label
        What stands under the x-axis.
    note
        A sentence to stand under the chart.
    """

    def __init__(self, x: str | Sequence[str] = "date", *, label: str = "", note: str = "") -> None:
        from matplotlib.figure import Figure

        self.note = note
        self._x, self._label = x, label
        self.figure = Figure(figsize=(WIDE / 72, 1), dpi=72)  # a pixel of the page is a point
        self._panels: list[Panel] = []
        self._legend: dict[str, dict[str, Any]] = {}
        self._around: list[Artist] = []

    def panel(self, height: float, heading: str = "", **scale: Any) -> Panel:
        """One more panel below the others; `scale` is that of `Panel`."""
        first = self._panels[0].axes if self._panels else None
        axes = self.figure.add_axes((0, 0, 1, 1), sharex=first, label=str(len(self._panels)))
        self._panels.append(Panel(axes, self._places, self._legend, height, heading, **scale))
        return self._panels[-1]

    def _places(self, values: Values) -> np.ndarray:
        """Values of the x-axis as they are placed on it; dates as days since 1970."""
        if self._x == "date":
            return np.asarray(values, dtype="datetime64[us]").astype(float) / 86_400e6
        return np.log10(numbers(values)) if self._x == "log" else numbers(values)

    def svg(self, key: str, title: str) -> str:
        """The chart for narrow and for wide screens; `key` begins every id in it."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        written = ""
        about = " ".join(panel.description() for panel in self._panels)
        for kind, width in (("narrow", NARROW), ("wide", WIDE)):
            buffer = io.StringIO()
            with _style():
                height = self._lay_out(width)
                self.figure.patch.set_visible(False)
                FigureCanvasSVG(self.figure).print_svg(buffer, metadata={"Date": None})
            box = f"0 {_TITLE} {width} {height - _TITLE - _NOTE:g}"
            written += page_svg(buffer.getvalue(), f"{key}-{kind}", kind, box, title, about)
        return written

    def png(self, title: str) -> bytes:
        """The chart as a picture. The same figure gives the same bytes."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        buffer = io.BytesIO()
        with _style():
            height = self._lay_out(WIDE)
            self.figure.patch.set_visible(True)
            self._text(12, 22, title, size=15, weight="bold")
            self._text(12, height - 10, self.note, color=GREY, size=10.5)
            FigureCanvasAgg(self.figure).print_png(buffer, metadata={"Software": None})
        return buffer.getvalue()

    def _lay_out(self, width: float) -> float:
        """Put everything in its place and return the height."""
        scales = [panel.scale() for panel in self._panels]
        longest = max((len(text) for scale in scales for text in scale[3]), default=1)
        letters = min(longest, int(0.4 * width / _LETTER))
        left = _LETTER * letters + 18
        inner = width - left - _RIGHT
        rows = self._legend_rows(width)
        foot = _FOOT + (_LABEL if self._label else 0)
        top = float(_TITLE + _LEGEND * len(rows))
        height = top + sum(panel.outer for panel in self._panels) + foot + _NOTE
        self._clear(width, height)
        for row, labels in enumerate(rows):
            self._draw_legend(labels, _TITLE + _LEGEND * row + 10)
        low, high, ticks, labels = self._x_scale(inner)
        self._panels[0].axes.set_xlim(low, high)
        for panel, scale in zip(self._panels, scales, strict=True):
            if panel.heading:
                self._text(left, top + HEADING - 7, panel.heading, size=11)
            top += panel.outer
            bottom = top - GAP
            box = (left / width, 1 - bottom / height, inner / width, panel.height / height)
            panel.axes.set_position(box)
            self._around += panel.rule(ticks, upright=self._x == "number")
            first, last, places, texts = scale
            for place, text in zip(places, texts, strict=True):
                y = bottom - panel.height * (place - first) / (last - first)
                short = text if len(text) <= letters else f"{text[: letters - 1]}…"
                self._text(left - 6, y + 4, short, ha="right")
        for tick, text in zip(ticks, labels, strict=True):
            x = left + inner * (tick - low) / (high - low)
            self._text(x, top + 10, text, ha="center")
        if self._label:
            self._text(left + inner / 2, top + foot - 8, self._label, ha="center")
        return height

    def _clear(self, width: float, height: float) -> None:
        """Remove what stood around the panels and measure in pixels from the top of a new size."""
        from matplotlib.transforms import Affine2D

        for artist in self._around:
            artist.remove()
        self._around = []
        self.figure.set_size_inches(width / 72, height / 72)
        flipped = Affine2D().scale(1 / 72, -1 / 72).translate(0, height / 72)
        self._pixels = flipped + self.figure.dpi_scale_trans

    def _text(self, x: float, y: float, text: str, **look: Any) -> None:
        shown = printable(text)
        self._around.append(self.figure.text(x, y, shown, transform=self._pixels, **look))

    def _legend_rows(self, width: float) -> list[list[str]]:
        """The names of the legend in rows that fit; a single name says nothing."""
        rows: list[list[str]] = []
        used = float(width)
        for label in self._legend if len(self._legend) > 1 else ():
            needed = _LETTER * len(label) + 44
            if used + needed > width:
                rows.append([])
                used = 12.0
            rows[-1].append(label)
            used += needed
        return rows

    def _draw_legend(self, labels: list[str], y: float) -> None:
        from matplotlib.lines import Line2D

        x = 12.0
        for label in labels:
            line = Line2D([x, x + 11, x + 22], [y] * 3, **self._legend[label])
            line.set_transform(self._pixels)
            self._around.append(self.figure.add_artist(line))
            self._text(x + 28, y + 4, label)
            x += _LETTER * len(label) + 44

    def _x_scale(self, room: float) -> tuple[float, float, np.ndarray, list[str]]:
        """Left and right end of the x-axis, its ticks and their labels."""
        if not isinstance(self._x, str):
            names = list(self._x)
            return -0.5, len(names) - 0.5, np.arange(len(names), dtype=float), names
        spans = np.array([panel.axes.dataLim.intervalx for panel in self._panels])
        low, high = spans[:, 0].min(), spans[:, 1].max()
        if not np.isfinite([low, high]).all():
            low, high = 0.0, 1.0
        pad = 0.01 * (high - low) or 1.0
        low, high = low - pad, high + pad
        if self._x == "date":
            return low, high, *_date_ticks(low, high, room)
        if self._x == "log":
            return low, high, *_amount_ticks(low, high, room)
        ticks = round_ticks(low, high, int(room / 56))
        return low, high, ticks, spelled(ticks)


def _date_ticks(low: float, high: float, room: float) -> tuple[np.ndarray, list[str]]:
    """Years or months, as many as fit; of a short span its days or minutes."""
    first, last = (int(_moment(end).astype("datetime64[M]").astype(int)) for end in (low, high))
    months = np.arange(first, last + 2)
    for step, letters in ((1, 7), (2, 7), (3, 7), (6, 7), (12, 4), (24, 4), (60, 4), (120, 4)):
        starts = months[months % step == 0].astype("datetime64[M]")
        ticks = starts.astype("datetime64[D]").astype(float)
        inside = (low <= ticks) & (ticks <= high)
        if 2 <= inside.sum() <= room / (_LETTER * letters + 14):
            return ticks[inside], [str(start)[:letters] for start in starts[inside]]
    step = max(1.0, np.ceil((high - low) * (_LETTER * 10 + 14) / room))
    if high - low >= 2:
        ticks = np.arange(np.ceil(low), high + 1e-9, step)
        return ticks, [str(_moment(tick))[:10] for tick in ticks]
    ticks = np.linspace(low, high, 5)[1:-1]
    return ticks, [str(_moment(tick))[:16].replace("T", " ") for tick in ticks]


def _moment(place: float) -> np.datetime64:
    return np.datetime64(int(place * 86_400), "s")


def _amount_ticks(low: float, high: float, room: float) -> tuple[np.ndarray, list[str]]:
    """Powers of ten, as 100k, 1M, 10B, and twice and five times each between them."""
    roomy = bool(room / (high - low) > 90)
    found = []
    for power in range(int(np.floor(low)), int(np.ceil(high)) + 1):
        size, letter = max((s, letter) for s, letter in _SIZES if s <= max(power, 0))
        text = f"{10.0 ** (power - size):g}{letter}"
        found += [(power, text)] + [(power + np.log10(d), str(d) * roomy) for d in (2, 5)]
    inside = [(place, text) for place, text in found if low <= place <= high]
    return np.array([place for place, _ in inside]), [text for _, text in inside]
