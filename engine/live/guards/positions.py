"""Positions at the broker that our own fills do not explain."""

from __future__ import annotations

from collections.abc import Mapping

from engine.live.brokers.records import Position
from engine.live.guards.event import GuardEvent, listed, tripped

__all__ = ["foreign_positions"]

_EPSILON = 1e-6


def foreign_positions(
    ours: Mapping[str, Position], brokers: Mapping[str, Position]
) -> list[GuardEvent]:
    """The broker holds another quantity than the state: a trade by hand, a split, a lost fill."""
    differing = {}
    for ticker in sorted({*ours, *brokers}):
        here = ours[ticker].quantity if ticker in ours else 0.0
        there = brokers[ticker].quantity if ticker in brokers else 0.0
        if abs(here - there) > _EPSILON:
            differing[ticker] = f"{ticker} {there:g} instead of {here:g}"
    if not differing:
        return []
    return tripped(
        "positions_differ",
        f"the broker holds {listed(list(differing.values()))}; to take its positions over: "
        "python -m engine.live acknowledge",
        list(differing),
    )
