"""Settings of today's bar from a quote: the section `data.latest`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from engine.config.section import Section

__all__ = ["LatestSettings"]

Positive = Annotated[float, Field(gt=0)]


class LatestSettings(Section):
    """Which quotes may complete today's bar (`engine.data.latest.add_latest`)."""

    max_age_s: Positive = 60.0
    max_spread: Positive = 0.02
    max_move: Positive = 0.3
