"""The simulator against a slow, obvious loop that shares no code with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from backtest.costs import Costs
from backtest.simulation.portfolio import Case, PortfolioResult, simulate_cases

START = date(2020, 1, 1)
MARKETS, CASES = 50, 10


@dataclass(frozen=True)
class Market:
    """Bars of one to five names, and the rules they are traded under."""

    prices: pl.DataFrame
    dates: list[date]
    names: int
    lot_size: float
    delisted_after: int


def random_market(rng: np.random.Generator) -> Market:
    """Late listings, halts, delistings, missing volumes, price spikes of five to ten times."""
    days, names = int(rng.integers(8, 36)), int(rng.integers(1, 6))
    dates = [START + timedelta(days=i) for i in range(days)]
    bars = []
    for k in range(names):
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.04, days)))
        if rng.random() < 0.1:
            close[int(rng.integers(days // 2, days)) :] *= rng.uniform(5, 10)
        opened = close * np.exp(rng.normal(0, 0.02, days))
        first = int(rng.integers(0, 5)) if rng.random() < 0.3 else 0
        last = int(rng.integers(days // 2, days)) if rng.random() < 0.3 else days
        for i in range(first, last):
            if rng.random() < 0.08:
                continue
            amount = None if rng.random() < 0.05 else float(rng.uniform(1e4, 1e7))
            bars.append((dates[i], f"T{k}", float(opened[i]), float(close[i]), amount))
    # It trades every day, so that every day is a session.
    bars += [(day, "ANCHOR", 10.0, 10.0, 1e6) for day in dates]
    prices = pl.DataFrame(
        bars, schema=["date", "ticker", "open", "close", "amount"], orient="row"
    ).sort("date", "ticker")
    return Market(prices, dates, names, float(rng.choice([0, 0, 1, 7])), int(rng.integers(1, 7)))


def random_weights(rng: np.random.Generator, market: Market) -> pl.DataFrame:
    days, names, rows = len(market.dates), market.names, []
    long_only = rng.random() < 0.3
    for i in sorted(rng.choice(days, size=min(days, int(rng.integers(1, 7))), replace=False)):
        w = rng.normal(size=names)
        w = np.abs(w) if long_only else w - w.mean() * rng.random()
        w = w / max(np.abs(w).sum(), 1e-12) * (1.0 if long_only else rng.uniform(0.2, 1.6))
        chosen = [k for k in range(names) if rng.random() < 0.9]
        rows += [(market.dates[i], f"T{k}", float(w[k])) for k in chosen]
    return pl.DataFrame(
        rows,
        schema={"asof": pl.Date, "ticker": pl.String, "weight": pl.Float64},
        orient="row",
    )


def random_costs(rng: np.random.Generator) -> Costs:
    return Costs(
        round_trip_bps=float(rng.choice([0, 10, 200])),
        impact_coefficient=float(rng.choice([0, 50])),
        borrow_bps_per_year=float(rng.choice([0, 300])),
        aum=float(rng.choice([1.0, 1e4, 1e6])),
    )


class Oracle:
    """Dictionaries and loops: one day, one name at a time."""

    def __init__(self, weights: pl.DataFrame, market: Market, costs: Costs) -> None:
        self.costs, self.lot, self.delisted_after = costs, market.lot_size, market.delisted_after
        prices = market.prices
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
        after = self.delisted_after
        recent = [(day, name) in self.bars for day in self.days[max(0, i - after) : i + 1]]
        return len(recent) == after + 1 and recent[0] and not any(recent[1:])

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
                if equity <= 0:
                    return fees
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
                    share = value / equity if equity > 0 else 0.0
                    fees[i, name] = self.fee(i, name, abs(share))
                    cash += value
                    shares[name] = 0.0
        return fees

    def run(self, *, charge: bool) -> tuple[list[dict[str, float]], list[tuple[Any, ...]]]:
        """(a row a session from the first fill on, the fills); zeros after ruin."""
        costs, fees = self.costs, self.fees()
        cash, shares = costs.aum, dict.fromkeys(self.names, 0.0)
        previous, rows, fills = costs.aum, [], []
        for i, day in enumerate(self.days):
            if previous <= 0:
                rows.append(dict.fromkeys(rows[-1], 0.0))
                continue
            price = {}
            for name in self.names:
                bar = self.bars.get((day, name))
                price[name] = bar[0] if bar else (self.last_close(i - 1, name) if i else None)
                if self.leaves(i, name):
                    price[name] = self.last_close(i, name)
            equity = cash + sum(shares[n] * price[n] for n in self.names if shares[n])
            orders = []
            for name in self.names:
                target = self.decisions.get(i, {}).get(name)
                if (day, name) not in self.bars:
                    target = 0.0 if self.leaves(i, name) else None
                if target is not None and equity > 0:
                    size = target * equity / price[name] - shares[name]
                    orders.append((size * price[name], name, size))
            traded = 0.0
            for _, name, wanted in sorted(orders, key=lambda order: order[0]):
                fee = fees.get((i, name), 0.0) if charge else 0.0
                size = self.whole_lots(i, name, wanted)
                if size > 0 and size * price[name] * (1 + fee) > cash:
                    affordable = max(cash, 0.0) / (1 + fee) / price[name]
                    size = self.whole_lots(i, name, affordable)
                if abs(size) * price[name] < 1e-9 * costs.aum:
                    continue
                paid = abs(size) * price[name] * fee
                cash -= size * price[name] + paid
                shares[name] += size
                traded += abs(size) * price[name]
                fills.append((day, name, size, price[name], paid))
            turnover = traded / equity / 2 if equity > 0 else 0.0
            held = {n: shares[n] * (self.last_close(i, n) or 0.0) for n in self.names}
            value = cash + sum(held.values())
            if value <= 0:
                rows.append({"return": -1.0, "turnover": turnover} | ZERO)
                previous = 0.0
                continue
            short = -sum(min(v, 0.0) for v in held.values())
            borrow = costs.borrow_bps_per_year / 1e4 / 252 * short if charge else 0.0
            rows.append(
                {
                    "return": (value - borrow) / previous - 1,
                    "turnover": turnover,
                    "long": sum(max(v, 0.0) for v in held.values()) / value,
                    "short": short / value,
                    "equity": value / costs.aum,
                    "cash": cash / costs.aum,
                }
            )
            previous = value
        first = min(self.decisions) if self.decisions else len(rows)
        return rows[first:], fills

    def whole_lots(self, i: int, name: str, size: float) -> float:
        """A delisting sells all there is."""
        if not self.lot or ((self.days[i], name) not in self.bars and self.leaves(i, name)):
            return size
        return math.copysign(abs(size) // self.lot * self.lot, size)


ZERO = {"long": 0.0, "short": 0.0, "equity": 0.0, "cash": 0.0}


def compare(result: PortfolioResult, oracle: Oracle) -> None:
    """Returns, exposures, equity, cash and every fill within 1e-8."""
    aum = oracle.costs.aum
    (net, fills), (gross, _) = oracle.run(charge=True), oracle.run(charge=False)
    returns = result.returns
    assert returns.height == len(net)
    for column, expected, scale in [
        ("net", [day["return"] for day in net], 1.0),
        ("gross", [day["return"] for day in gross], 1.0),
        ("turnover", [day["turnover"] for day in net], 1.0),
        ("long_exposure", [day["long"] for day in net], 1.0),
        ("short_exposure", [day["short"] for day in net], 1.0),
        ("equity", [day["equity"] for day in net], aum),
        ("cash", [day["cash"] for day in net], aum),
    ]:
        found = returns[column].to_numpy() / scale
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8, err_msg=column)
    fills = sorted(fills, key=lambda fill: fill[:2])
    trades = result.trades
    signed = (
        trades["shares"]
        * pl.select(pl.when(trades["side"] == "buy").then(1.0).otherwise(-1.0)).to_series()
    )
    keys = list(zip(trades["date"], trades["ticker"], strict=True))
    assert keys == [fill[:2] for fill in fills]
    expected = np.array([fill[2:] for fill in fills]).reshape(-1, 3)
    found = np.column_stack([signed, trades["price"], trades["cost"]])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8, err_msg="trades")


@pytest.mark.parametrize("seed", range(MARKETS))
def test_equals_the_loop_simulator(seed):
    """Five books under two costs each in one call of the simulator: 500 cases in all."""
    rng = np.random.default_rng(seed)
    market = random_market(rng)
    books = [random_weights(rng, market) for _ in range(CASES // 2)]
    cases = [Case(book, random_costs(rng)) for book in books for _ in range(2)]
    results = simulate_cases(
        cases, market.prices, lot_size=market.lot_size, delisted_after=market.delisted_after
    )
    for case, result in zip(cases, results, strict=True):
        compare(result, Oracle(case.weights, market, case.costs))
