from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from engine.config.data import SimulatedSettings
from engine.data.simulated import SimulatedMarket, Simulation

END = date(2014, 12, 31)


@pytest.fixture(scope="session")
def simulate(calendar) -> Callable[..., SimulatedMarket]:
    """simulate(tickers=…, future=…, **settings): a market of 2010 to 2014 unless told otherwise."""

    def build(tickers=None, future=None, **settings) -> SimulatedMarket:
        chosen = SimulatedSettings(**{"n_tickers": 60, "end": END, "seed": 1, **settings})
        return Simulation(chosen, calendar, future=future).run(tickers)

    return build


@pytest.fixture(scope="session")
def market(simulate) -> SimulatedMarket:
    return simulate(n_tickers=140)
