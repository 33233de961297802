"""A configuration or model that is not yesterday's."""

from __future__ import annotations

from collections.abc import Collection

from engine.live.guards.event import GuardEvent, tripped

__all__ = ["config_changed", "model_changed"]

_HOW = "if that is meant, say so: python -m engine.live acknowledge"


def config_changed(before: str | None, now: str, acknowledged: Collection[str]) -> list[GuardEvent]:
    """The configuration's hash differs from the last plan's, and nobody acknowledged it."""
    if before in (None, now) or now in acknowledged:
        return []
    return tripped(
        "config_changed",
        f"the configuration changed since the last plan ({_short(before)} to {_short(now)}); "
        f"{_HOW}",
    )


def model_changed(
    before: str | None, now: str, acknowledged: Collection[str], *, forecaster: str
) -> list[GuardEvent]:
    """The forecaster's hash differs from its last one, and nobody acknowledged it."""
    if before in (None, now) or now in acknowledged:
        return []
    return tripped(
        "model_changed",
        f"{forecaster} is another model than at its last plan ({_short(before)} to {_short(now)}); "
        f"{_HOW}",
    )


def _short(mark: str | None) -> str:
    return (mark or "none")[:12]
