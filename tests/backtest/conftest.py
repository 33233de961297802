"""A small random market with a panel of scores, for tests that need every part at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
import yaml
from places import ROOT

from backtest.gates.rules import GateRules, parse_gate_rules

RULES_FILE = ROOT / "configs" / "gates.yaml"


@dataclass(frozen=True)
class World:
    panel: pl.DataFrame
    prices: pl.DataFrame
    benchmark: pl.DataFrame
    sessions: list[date]


def make_world(
    *,
    names: int = 20,
    length: int = 460,
    step: int = 21,
    horizons: tuple[int, ...] = (5, 20),
    skill: float = 0.0,
    seed: int = 0,
) -> World:
    """Random walks; the scores hold the share ``skill`` of the coming label, else noise."""
    rng = np.random.default_rng(seed)
    days = (date(2015, 1, 1) + timedelta(days=i) for i in range(2 * length))
    sessions = [day for day in days if day.weekday() < 5][:length]
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (length, names)), axis=0))
    opened = close * np.exp(rng.normal(0, 0.003, close.shape))
    tickers = [f"T{k:03d}" for k in range(names)]
    dates = np.array(sessions, dtype="datetime64[D]")
    prices = pl.DataFrame(
        {
            "date": np.repeat(dates, names),
            "ticker": tickers * length,
            "open": opened.ravel(),
            "close": close.ravel(),
            "amount": rng.uniform(1e7, 1e8, close.size),
        }
    )
    parts = []
    for i in range(60, length, step):
        for horizon in horizons:
            mature = i + horizon < length
            end = close[i + horizon] if mature else np.full(names, np.nan)
            label = end / close[i] - 1
            opening = end / opened[i + 1] - 1 if mature else label
            signal = (label - label.mean()) / label.std() if mature else np.zeros(names)
            noise = rng.normal(size=names)
            parts.append(
                pl.DataFrame(
                    {
                        "asof": [sessions[i]] * names,
                        "ticker": tickers,
                        "horizon": [horizon] * names,
                        "score": skill * signal + (1 - skill) * noise,
                        "status": ["ok"] * names,
                        "label": label - label.mean(),
                        "label_next_open": opening - opening.mean(),
                        "mature": [mature] * names,
                        "momentum_12m": close[i] / close[i - 60] - 1,
                        "momentum_1m": close[i] / close[i - 21] - 1,
                        "fold": [sessions[i].strftime("%Y-%m")] * names,
                        "volatility_regime": [("low", "high")[(i // 150) % 2]] * names,
                        "trend_regime": [("bull", "bear")[(i // 40) % 2]] * names,
                    },
                    schema_overrides={"horizon": pl.Int32},
                )
            )
    panel = pl.concat(parts).with_columns(pl.col("label", "label_next_open").fill_nan(None))
    benchmark = pl.DataFrame({"date": dates, "open": opened.mean(1), "close": close.mean(1)})
    return World(panel, prices, benchmark, sessions)


@pytest.fixture(scope="session")
def world() -> Callable[..., World]:
    return make_world


@pytest.fixture(scope="session")
def rules() -> GateRules:
    """The rules that ship."""
    return parse_gate_rules(yaml.safe_load(RULES_FILE.read_text()))
