"""Colours that stay apart for colour-blind readers and on grey paper (Okabe and Ito, 2008)."""

from __future__ import annotations

__all__ = [
    "BENCHMARK",
    "BLUE",
    "GREY",
    "GROSS",
    "INK",
    "NET",
    "PALE",
    "RULE",
    "VERMILLION",
    "horizon_colors",
]

BLUE = "#0072B2"
VERMILLION = "#D55E00"
PALE = "#8DBBDB"
GREY = "#6B6B6B"
INK = "#1F2328"
RULE = "#D9DDE2"

NET = BLUE
GROSS = "#E69F00"
BENCHMARK = GREY

_LIGHT, _MIDDLE, _DARK = (0x6F, 0xBD, 0xE8), (0x00, 0x72, 0xB2), (0x12, 0x2B, 0x45)


def _blend(a: tuple[int, int, int], b: tuple[int, int, int], share: float) -> str:
    return "#" + "".join(f"{round(x + (y - x) * share):02X}" for x, y in zip(a, b, strict=True))


def horizon_colors(count: int) -> list[str]:
    """`count` blues from light (short horizon) to dark (long): their lightness tells them apart."""
    if count <= 1:
        return [BLUE] * count
    positions = [2 * i / (count - 1) for i in range(count)]
    return [
        _blend(_LIGHT, _MIDDLE, p) if p <= 1 else _blend(_MIDDLE, _DARK, p - 1) for p in positions
    ]
