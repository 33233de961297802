"""Settings of the simulated market: the section `data.simulated`."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field, model_validator

from engine.config.section import Section

__all__ = ["SimulatedSettings"]

Share = Annotated[float, Field(ge=0, le=1)]


class SimulatedSettings(Section):
    """What market is simulated; the same settings give the same bars.

    A ticker's bars depend on `seed`, its own number and the settings of the market, never on
    `n_tickers` or `end`: a longer simulation begins with the shorter one.
    """

    n_tickers: Annotated[int, Field(ge=1, le=1_000_000)] = 120
    start: date = date(2010, 1, 4)
    end: date = date(2019, 12, 31)
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    sectors: Annotated[int, Field(ge=1, le=100)] = 10
    listed_at_start: Share = 0.85
    endings_per_year: Annotated[float, Field(ge=0, le=5)] = 0.03
    halts_per_year: Annotated[float, Field(ge=0, le=20)] = 0.1
    dividend_payers: Share = 0.6
    rank_ic: Annotated[float, Field(gt=-0.7, lt=0.7)] = 0.0
    horizon: Annotated[int, Field(ge=1, le=252)] = 20
    half_life: Annotated[float, Field(gt=0, le=2520)] = 60.0

    @model_validator(mode="after")
    def _ordered(self) -> SimulatedSettings:
        if self.start > self.end:
            raise ValueError(
                f"data.simulated.start {self.start} is after data.simulated.end {self.end}"
            )
        return self
