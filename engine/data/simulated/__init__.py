"""A market made up from a seed, with the truth behind it."""

from __future__ import annotations

from engine.data.simulated.market import (
    INDEX,
    VOLATILITY,
    SimulatedMarket,
    SimulatedSource,
    Simulation,
)

__all__ = ["INDEX", "VOLATILITY", "SimulatedMarket", "SimulatedSource", "Simulation"]
