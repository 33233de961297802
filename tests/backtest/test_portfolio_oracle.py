"""The simulator against a slow, obvious loop that shares no code with it."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from backtest.costs import Costs
from backtest.portfolio import simulate

START = date(2020, 1, 1)
DELISTED_AFTER = 4


def random_case(seed: int) -> tuple[pl.DataFrame, pl.DataFrame, Costs]:
    rng = np.random.default_rng(seed)
    days, names = int(rng.integers(8, 36)), int(rng.integers(1, 6))
    dates = [START + timedelta(days=i) for i in range(days)]
    bars, weights = [], []
    for k in range(names):
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.04, days)))
        opened = close * np.exp(rng.normal(0, 0.02, days))
        first = int(rng.integers(0, 5)) if rng.random() < 0.3 else 0
        last = int(rng.integers(days // 2, days)) if rng.random() < 0.3 else days
        for i in range(first, last):
            # Ticker 0 trades every day, so that every day is a session.
            if k and rng.random() < 0.08:
                continue
            amount = None if rng.random() < 0.05 else float(rng.uniform(1e4, 1e7))
            bars.append((dates[i], f"T{k}", float(opened[i]), float(close[i]), amount))
    bars += [(day, "ANCHOR", 10.0, 10.0, 1e6) for day in dates]
    long_only = rng.random() < 0.3
    for i in sorted(rng.choice(days, size=min(days, int(rng.integers(1, 7))), replace=False)):
        w = rng.normal(size=names)
        w = np.abs(w) if long_only else w - w.mean() * rng.random()
        w = w / max(np.abs(w).sum(), 1e-12) * (1.0 if long_only else rng.uniform(0.2, 1.6))
        chosen = [k for k in range(names) if rng.random() < 0.9]
        weights += [(dates[i], f"T{k}", float(w[k])) for k in chosen]
    prices = pl.DataFrame(
        bars, schema=["date", "ticker", "open", "close", "amount"], orient="row"
    ).sort("date", "ticker")
    book = pl.DataFrame(
        weights,
        schema={"asof": pl.Date, "ticker": pl.String, "weight": pl.Float64},
        orient="row",
    )
    costs = Costs(
        round_trip_bps=float(rng.choice([0, 10, 200])),
        impact_coefficient=float(rng.choice([0, 50])),
        borrow_bps_per_year=float(rng.choice([0, 300])),
        aum=float(rng.choice([1.0, 1e6])),
    )
    return book, prices, costs


class Oracle:
    """Dictionaries and loops: one day, one name at a time."""

    def __init__(self, weights: pl.DataFrame, prices: pl.DataFrame, costs: Costs) -> None:
        self.costs = costs
        self.bars = {(row[0], row[1]): row[2:] for row in prices.iter_rows()}
        self.days = sorted({day for day, _ in self.bars})
        self.names = sorted(set(weights["ticker"]))
        self.decisions: dict[int, dict[str, float]] = {}
        for asof in sorted(set(weights["asof"])):
            fill = self.days.index(asof) + 1
            if fill < len(self.days):
                rows = weights.filter(pl.col("asof") == asof)
                chosen = dict(zip(rows["ticker"], rows["weight"], strict=True))
                self.decisions[fill] = {name: chosen.get(name, 0.0) for name in self.names}

    def last_close(self, i: int, name: str) -> float | None:
        for day in reversed(self.days[: i + 1]):
            if (day, name) in self.bars:
                return self.bars[day, name][1]
        return None

    def leaves(self, i: int, name: str) -> bool:
        recent = [(day, name) in self.bars for day in self.days[max(0, i - DELISTED_AFTER) : i + 1]]
        return len(recent) == DELISTED_AFTER + 1 and recent[0] and not any(recent[1:])

    def fee(self, i: int, name: str, traded_share: float) -> float:
        amounts = [
            self.bars[day, name][2]
            for day in self.days[max(0, i - 19) : i + 1]
            if (day, name) in self.bars and self.bars[day, name][2] is not None
        ]
        impact = 100.0
        if self.costs.impact_coefficient == 0:
            impact = 0.0
        elif amounts:
            share = self.costs.aum * traded_share / (sum(amounts) / len(amounts))
            impact = self.costs.impact_coefficient * math.sqrt(share)
        return min(500.0, self.costs.round_trip_bps / 2 + impact) / 1e4

    def fees(self) -> dict[tuple[int, str], float]:
        """Fee of every order, from a book that trades without costs or limits."""
        shares, cash, fees = dict.fromkeys(self.names, 0.0), 1.0, {}
        for i, day in enumerate(self.days):
            if i in self.decisions:
                closes = {name: self.last_close(i - 1, name) or 0.0 for name in self.names}
                equity = cash + sum(shares[name] * closes[name] for name in self.names)
                for name in self.names:
                    change = self.decisions[i][name] - shares[name] * closes[name] / equity
                    fees[i, name] = self.fee(i - 1, name, abs(change))
                price = {
                    name: self.bars[day, name][0] if (day, name) in self.bars else closes[name]
                    for name in self.names
                }
                equity = cash + sum(shares[name] * price[name] for name in self.names)
                for name in self.names:
                    if (day, name) in self.bars:
                        wanted = self.decisions[i][name] * equity / price[name]
                        cash -= (wanted - shares[name]) * price[name]
                        shares[name] = wanted
            for name in self.names:
                if self.leaves(i, name):
                    value = shares[name] * self.last_close(i, name)
                    closes = {other: self.last_close(i, other) or 0.0 for other in self.names}
                    equity = cash + sum(shares[other] * closes[other] for other in self.names)
                    fees[i, name] = self.fee(i, name, abs(value / equity))
                    cash += value
                    shares[name] = 0.0
        return fees

    def run(self, *, charge: bool) -> list[dict[str, float]]:
        costs, fees = self.costs, self.fees()
        cash, shares = costs.aum, dict.fromkeys(self.names, 0.0)
        previous, result = costs.aum, []
        for i, day in enumerate(self.days):
            price = {}
            for name in self.names:
                bar = self.bars.get((day, name))
                price[name] = bar[0] if bar else (self.last_close(i - 1, name) if i else None)
            equity = cash + sum(shares[n] * price[n] for n in self.names if shares[n])
            orders = []
            for name in self.names:
                target = self.decisions.get(i, {}).get(name)
                if (day, name) not in self.bars:
                    target = 0.0 if self.leaves(i, name) else None
                if target is not None:
                    size = target * equity / price[name] - shares[name]
                    if abs(size) * price[name] >= 1e-9 * costs.aum:
                        orders.append((size * price[name], name, size))
            traded = 0.0
            for _, name, size in sorted(orders, key=lambda order: order[0]):
                fee = fees[i, name] if charge else 0.0
                if size > 0:
                    size = min(size, cash / (price[name] * (1 + fee)))
                cash -= size * price[name] + abs(size) * price[name] * fee
                shares[name] += size
                traded += abs(size) * price[name]
            held = {n: shares[n] * (self.last_close(i, n) or 0.0) for n in self.names}
            short = -sum(min(value, 0.0) for value in held.values())
            value = cash + sum(held.values())
            borrow = costs.borrow_bps_per_year / 1e4 / 252 * short if charge else 0.0
            result.append(
                {
                    "return": (value - borrow) / previous - 1,
                    "turnover": traded / equity / 2,
                    "long": sum(max(v, 0.0) for v in held.values()) / value,
                    "short": short / value,
                }
            )
            previous = value
        return result[min(self.decisions) :] if self.decisions else []


@pytest.mark.parametrize("seed", range(60))
def test_equals_the_loop_simulator(seed):
    weights, prices, costs = random_case(seed)
    result = simulate(weights, prices, costs=costs, delisted_after=DELISTED_AFTER)
    oracle = Oracle(weights, prices, costs)
    net, gross = oracle.run(charge=True), oracle.run(charge=False)

    assert result.returns.height == len(net)
    for column, expected in [
        ("net", [day["return"] for day in net]),
        ("gross", [day["return"] for day in gross]),
        ("turnover", [day["turnover"] for day in net]),
        ("long_exposure", [day["long"] for day in net]),
        ("short_exposure", [day["short"] for day in net]),
    ]:
        np.testing.assert_allclose(
            result.returns[column].to_numpy(), expected, rtol=0, atol=1e-8, err_msg=column
        )
