"""Random bars for the tests of training."""

from __future__ import annotations

import numpy as np
import pandas as pd
from kronos_golden import random_bars

from kronos.training import TrainingBars, training_bars


def daily(tickers: int = 4, sessions: int = 400) -> TrainingBars:
    days = pd.bdate_range("2011-01-03", periods=sessions).to_numpy()
    values = random_bars(tickers, sessions).reshape(-1, 6)
    names = np.repeat([f"T{i}" for i in range(tickers)], sessions)
    return training_bars(names, np.tile(days, tickers), values)


def five_minutes(tickers: int = 2, sessions: int = 3) -> TrainingBars:
    """78 bars a session from 14:30 UTC."""
    days = pd.bdate_range("2024-03-04", periods=sessions).to_numpy().astype("datetime64[us]")
    within = np.timedelta64(870, "m") + np.arange(78) * np.timedelta64(5, "m")
    times = (days[:, None] + within).ravel()
    values = random_bars(tickers, len(times)).reshape(-1, 6)
    names = np.repeat([f"T{i}" for i in range(tickers)], len(times))
    return training_bars(names, np.tile(times, tickers), values)
