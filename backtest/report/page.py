"""What every page shares: templates, style, and colours that hold in light, dark and on paper.

Colours stay apart for colour-blind readers and on grey paper (Okabe and Ito, 2008). Each has a
name, which pages use as a CSS variable, a light and a dark value.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "INK",
    "ORANGE",
    "PALE",
    "PAPER",
    "PINK",
    "RULE",
    "VARIABLES",
    "VERMILLION",
    "horizon_colors",
    "page_style",
    "page_templates",
]

TEMPLATES = Path(__file__).parent / "templates"

BLUE = "#0072b2"
VERMILLION = "#d55e00"
ORANGE = "#e69f00"
GREEN = "#009e73"
PINK = "#cc79a7"
PALE = "#8dbbdb"
GREY = "#6b6b6b"
INK = "#1f2328"
RULE = "#d9dde2"
PAPER = "#ffffff"


def _blend(a: str, b: str, share: float) -> str:
    pairs = zip(bytes.fromhex(a[1:]), bytes.fromhex(b[1:]), strict=True)
    return "#" + "".join(f"{round(x + (y - x) * share):02x}" for x, y in pairs)


def _scale(faint: str, middle: str, strong: str, steps: int) -> list[str]:
    places = [2 * step / (steps - 1) for step in range(steps)]
    return [
        _blend(faint, middle, place) if place <= 1 else _blend(middle, strong, place - 1)
        for place in places
    ]


_DARK_BLUE = "#4da3d9"
_STEPS = 13
_LIGHT_SCALE = _scale("#6fbde8", BLUE, "#122b45", _STEPS)
_DARK_SCALE = _scale("#2b6a99", _DARK_BLUE, "#d9eefc", _STEPS)

VARIABLES: dict[str, tuple[str, str]] = {
    "ink": (INK, "#e6edf3"),
    "soft": ("#57606a", "#9aa4af"),
    "rule": (RULE, "#353c45"),
    "paper": (PAPER, "#14181d"),
    "wash": ("#f6f7f9", "#1d232a"),
    "apart": ("#f1f1f1", "#1b1f24"),
    "grey": (GREY, "#9aa0a6"),
    "vermillion": (VERMILLION, "#ef8641"),
    "stripe": ("#f3b98f", "#7a4522"),
    "fail": ("#b84a00", "#f08c4a"),
    "orange": (ORANGE, "#e3b341"),
    "green": (GREEN, "#3fc796"),
    "pink": (PINK, "#e29bc4"),
    "pale": (PALE, "#2f6f9f"),
    **{f"h{i}": pair for i, pair in enumerate(zip(_LIGHT_SCALE, _DARK_SCALE, strict=True))},
    "blue": (BLUE, _DARK_BLUE),
}
"""Name → light and dark colour; h0 … stand for horizons, faint (short) to strong (long)."""


def horizon_colors(horizons: Sequence[int]) -> dict[int, str]:
    """The colour of each horizon: blues from faint (the shortest) to strong."""
    last = len(horizons) - 1
    places = [round(i * (_STEPS - 1) / last) if last else _STEPS // 2 for i in range(last + 1)]
    return {h: _LIGHT_SCALE[place] for h, place in zip(horizons, places, strict=True)}


@cache
def page_style(*more: Path) -> str:
    """The shared style sheet with its colours, and those of the page after it."""
    light, dark = (
        "".join(f"--{name}:{pair[side]};" for name, pair in VARIABLES.items()) for side in (0, 1)
    )
    # Paper is white: only a screen is ever dark.
    colors = f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    sheets = [TEMPLATES / "style.css", *more]
    return colors + "".join(path.read_text(encoding="utf-8") for path in sheets)


def page_templates(folder: Path) -> Environment:
    """The templates of a folder: values are escaped, an undefined one raises."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
