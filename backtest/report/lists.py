"""Lists behind the numbers: drops, removed bars, weights, settings, the gates' own numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .data import ReportData
from .formatting import count, percent
from .series import last_weights

__all__ = [
    "Weight",
    "Weights",
    "drops",
    "flags",
    "flatten",
    "gate_numbers",
    "quarantine",
    "weights_table",
]


def drops(data: ReportData) -> list[tuple[str, str]]:
    """Every drop count by reason, largest first."""
    counted: dict[str, Any] = {
        **(data.manifest.get("drops") or {}),
        **(data.metrics.get("drops") or {}),
    }
    ordered = sorted(counted.items(), key=lambda item: (-(item[1] or 0), item[0]))
    return [(str(reason), count(n)) for reason, n in ordered]


def flags(data: ReportData) -> list[tuple[str, str]]:
    """What was kept but is worth knowing, with its count, largest first."""
    counted = data.metrics.get("flags") or {}
    ordered = sorted(counted.items(), key=lambda item: (-(item[1] or 0), item[0]))
    return [(str(what), count(n)) for what, n in ordered]


def quarantine(data: ReportData, *, limit: int = 30) -> list[list[str]]:
    """The first bars that were removed: ticker, date, rule, message, source."""
    columns = ["ticker", "date", "rule", "message", "source"]
    rows = data.quarantine.select(columns).head(limit).rows()
    return [["" if value is None else str(value) for value in row] for row in rows]


def gate_numbers(data: ReportData) -> list[tuple[str, list[tuple[str, str]]]]:
    """Every number recorded by a gate."""
    return [
        (str(gate.get("name")), list(flatten(gate["numbers"])))
        for gate in data.gates.get("gates") or []
        if gate.get("numbers")
    ]


@dataclass(frozen=True)
class Weight:
    """One target weight; `bar` is its size as a share of the largest, 0 to 1."""

    ticker: str
    weight: str
    bar: float
    short: bool


@dataclass(frozen=True)
class Weights:
    """Target weights of the last rebalance, the largest of each side."""

    asof: str
    rows: list[Weight]
    n_long: int
    n_short: int
    long: str
    short: str
    hidden: int


def weights_table(data: ReportData, *, per_side: int = 20) -> Weights | None:
    """The last rebalance's weights, at most `per_side` longs and shorts; None when all are zero."""
    frame = last_weights(data.weights)
    if frame.is_empty():
        return None
    pairs = list(zip(frame["ticker"].to_list(), frame["weight"].to_list(), strict=True))
    longs, shorts = [p for p in pairs if p[1] > 0], [p for p in pairs if p[1] < 0]
    shown = longs[:per_side] + shorts[-per_side:]
    largest = max(abs(w) for _, w in shown)
    return Weights(
        asof=str(frame["asof"][0]),
        rows=[Weight(str(t), percent(w), abs(w) / largest, w < 0) for t, w in shown],
        n_long=len(longs),
        n_short=len(shorts),
        long=percent(sum(w for _, w in longs)),
        short=percent(sum(w for _, w in shorts)),
        hidden=len(pairs) - len(shown),
    )


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and their values as text, as the command line writes them."""
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    elif _is_list(tree) and any(isinstance(item, Mapping) for item in tree):
        for position, item in enumerate(tree):
            yield from flatten(item, f"{prefix}[{position}]")
    else:
        yield prefix, _plain(tree)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _plain(value: Any, *, limit: int = 20) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if _is_list(value):
        more = f", and {len(value) - limit} more" if len(value) > limit else ""
        return "[" + ", ".join(_plain(item) for item in value[:limit]) + more + "]"
    return str(value)
