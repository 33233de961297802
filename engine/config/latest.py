"""Settings of today's bar from a quote: the section `data.latest`."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["LatestSettings"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LatestSettings(BaseModel):
    """Which quotes may complete today's bar (`engine.data.latest.add_latest`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    max_age_s: Positive = 60.0
    max_spread: Positive = 0.02
    max_move: Positive = 0.3
