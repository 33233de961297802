"""Bars and scores in, trades out: every shipped strategy, and every corner of a market."""

from __future__ import annotations

import math
from datetime import date, timedelta

import polars as pl
import pytest

from backtest.costs import Costs
from backtest.simulation.portfolio import PortfolioResult, simulate
from strategies import build_strategy, strategy_names

START = date(2020, 1, 1)
FREE = Costs(round_trip_bps=0, impact_coefficient=0, borrow_bps_per_year=0, aum=100)
NAMES = "ABCD"
COLUMNS = {
    "momentum_12m": (1, 4, 3, 2),
    "volatility_60": (0.1, 0.3, 0.2, 0.2),
    "score_std": (0.1, 0.3, 0.2, 0.2),
    "beta_252": (1, 1, 1, 2),
}
FIRST, SECOND = (0.04, 0.03, 0.02, 0.01), (0.03, 0.02, 0.01, 0.04)
NAN = float("nan")
PARAMETERS = {
    "long_short_quantile": {"quantile": 0.25},
    "long_top_k": {"k": 1},
    "top_k_dropout": {"k": 2, "drop": 1},
    "momentum_blend": {"quantile": 0.25},
    "volatility_targeted": {"quantile": 0.25, "column": "beta_252"},
    "beta_neutral": {"quantile": 0.25},
    "inverse_volatility": {"quantile": 0.5},
    "uncertainty_weighted": {"quantile": 0.5},
    "composed": {"select": {"step": "top_k", "k": 1}, "weigh": "equal", "net": 1.0},
}
RANKED = sorted(set(strategy_names()) - {"equal_weight", "buy_and_hold", "fractional_kelly"})


def day(i: int) -> date:
    return START + timedelta(days=i)


def bars(**series: list[float | tuple[float, float] | None]) -> pl.DataFrame:
    """One list a ticker: a price, (open, close), or None where there is no bar."""
    rows = []
    for ticker, values in series.items():
        for i, bar in enumerate(values):
            if bar is not None:
                opened, close = bar if isinstance(bar, tuple) else (bar, bar)
                rows.append((day(i), ticker, float(opened), float(close), 1e9))
    columns = ["date", "ticker", "open", "close", "amount"]
    return pl.DataFrame(rows, schema=columns, orient="row").sort("date", "ticker")


def scores(**dates: tuple[float, ...]) -> pl.DataFrame:
    """d0=(A, B, C, D): the scores at day 0, beside the features of `COLUMNS`."""
    frames = [
        pl.DataFrame(
            {"asof": [day(int(key[1:]))] * 4, "ticker": list(NAMES), "horizon": [20] * 4,
             "score": list(map(float, values)),
             **{name: list(map(float, column)) for name, column in COLUMNS.items()}},
            schema_overrides={"horizon": pl.Int32},
        )
        for key, values in dates.items()
    ]  # fmt: skip
    return pl.concat(frames)


def run(name: str, given: pl.DataFrame, prices: pl.DataFrame, **options) -> PortfolioResult:
    weights = build_strategy(name, **PARAMETERS.get(name, {})).weights(given)
    return simulate(weights, prices, costs=options.pop("costs", FREE), **options)


def trades(result: PortfolioResult) -> dict[int, dict[str, float]]:
    """Day → ticker → shares bought (above 0) or sold."""
    found: dict[int, dict[str, float]] = {}
    for when, ticker, side, shares in result.trades.select(
        "date", "ticker", "side", "shares"
    ).iter_rows():
        signed = shares if side == "buy" else -shares
        found.setdefault((when - START).days, {})[ticker] = round(signed, 6)
    return found


FLAT = bars(**{name: [10.0] * 5 for name in NAMES})
VOL = 0.1 / math.sqrt(0.7 * (0.5**2 + (0.5 * 2) ** 2) + 0.3 * (0.5 - 0.5 * 2) ** 2)
VOL2 = 0.1 / math.sqrt(0.7 * ((0.5 * 2) ** 2 + 0.5**2) + 0.3 * (0.5 * 2 - 0.5) ** 2)
SIXTH = 10 / 6
LEGS = {
    1: {"A": 3.75, "B": 1.25, "C": -2.5, "D": -2.5},
    3: {"A": 2 * SIXTH - 3.75, "B": -3.25, "C": -0.5, "D": SIXTH + 2.5},
}
TABLE = {
    "long_short_quantile": {1: {"A": 5, "D": -5}, 3: {"A": -5, "C": -5, "D": 10}},
    "long_top_k": {1: {"A": 10}, 3: {"A": -10, "D": 10}},
    "composed": {1: {"A": 10}, 3: {"A": -10, "D": 10}},
    # B is the worst of those held and D the best of the others
    "top_k_dropout": {1: {"A": 5, "B": 5}, 3: {"B": -5, "D": 5}},
    "score_weighted": {
        1: {"A": 3.75, "B": 1.25, "C": -1.25, "D": -3.75},
        3: {"A": -2.5, "B": -2.5, "C": -2.5, "D": 7.5},
    },
    # mean ranks: B above all, D below all; then B before D by name, C last
    "momentum_blend": {1: {"B": 5, "D": -5}, 3: {"C": -5, "D": 5}},
    "volatility_targeted": {
        1: {"A": 5 * VOL, "D": -5 * VOL},
        3: {"A": -5 * VOL, "C": -5 * VOL2, "D": 5 * VOL + 5 * VOL2},
    },
    # betas 1 long, 2 short: two thirds against one third; then the other way round
    "beta_neutral": {
        1: {"A": 4 * SIXTH, "D": -2 * SIXTH},
        3: {"A": -4 * SIXTH, "C": -4 * SIXTH, "D": 4 * SIXTH},
    },
    "inverse_volatility": LEGS,
    "uncertainty_weighted": LEGS,
    # 0.25 · score / std², 0.1 at most
    "fractional_kelly": {
        1: {"A": 1, "B": 0.25 / 3 * 10, "C": 1, "D": 0.625},
        3: {"B": 10 * (0.25 * 0.02 / 0.09 - 0.25 / 3), "C": -0.375, "D": 0.375},
    },
    "equal_weight": {1: dict.fromkeys(NAMES, 2.5)},
    "buy_and_hold": {1: dict.fromkeys(NAMES, 2.5)},
}


def test_the_table_has_every_strategy():
    assert sorted(TABLE) == strategy_names()


@pytest.mark.parametrize("name", strategy_names())
def test_scores_in_trades_out(name):
    found = trades(run(name, scores(d0=FIRST, d2=SECOND), FLAT))
    expected = TABLE[name]
    assert found.keys() == expected.keys()
    for when, orders in expected.items():
        assert found[when] == pytest.approx(orders, abs=1e-5)


def held_at_first(name: str) -> set[str]:
    return set(TABLE[name][1])


@pytest.mark.parametrize("name", strategy_names())
class TestCorners:
    """What holds for every strategy, whatever it holds."""

    def test_first_bar(self, name):
        """Decided at the first close there is, filled at the second session's open, not before."""
        prices = bars(**{n: [(7.0, 10.0), (8.0, 9.0), 9.0] for n in NAMES})
        result = run(name, scores(d0=FIRST), prices)
        assert set(result.trades["date"]) == {day(1)}
        assert set(result.trades["price"]) == {8.0}
        # Names that are listed after the decision cannot be filled and are flagged.
        late = bars(**{n: [None, None, 10.0] for n in NAMES}, ANCHOR=[1.0] * 3)
        result = run(name, scores(d0=FIRST), late)
        assert result.trades.is_empty()
        assert set(result.flags["ticker"]) == held_at_first(name)

    def test_halt(self, name):
        """The halted name is not traded, the others are; its order lapses."""
        prices = bars(A=[10.0, None, 10.0, 10.0], **dict.fromkeys("BCD", [10.0] * 4))
        result = run(name, scores(d0=FIRST), prices)
        assert set(trades(result).get(1, {})) == held_at_first(name) - {"A"}
        assert ("A" in held_at_first(name)) == ("no_open" in set(result.flags["flag"]))

    def test_delisting(self, name):
        """What is held of a name that is gone leaves at its last price after two sessions."""
        gone = {n: [10.0, 10.0, (10.0, 6.0), None, None, None] for n in NAMES}
        result = run(name, scores(d0=FIRST), bars(**gone, ANCHOR=[1.0] * 6), delisted_after=2)
        bought, left = trades(result)[1], trades(result)[4]
        assert left == pytest.approx({ticker: -shares for ticker, shares in bought.items()})
        assert set(result.trades.filter(pl.col("date") == day(4))["price"]) == {6.0}
        assert result.flags["flag"].to_list() == ["delisted"] * len(bought)

    def test_split_day(self, name):
        """Two for one between two sessions: adjusted bars earn and trade nothing because of it."""
        raw = bars(**{n: [10.0, 10.0, 5.0, 5.0, 5.0] for n in NAMES})
        factor = pl.when(pl.col("date") < day(2)).then(0.5).otherwise(1.0)
        adjusted = raw.with_columns(pl.col("open") * factor, pl.col("close") * factor)
        result = run(name, scores(d0=FIRST, d2=FIRST), adjusted)
        assert result.returns["net"].abs().max() < 1e-12
        assert set(trades(result)) == {1}

    def test_zero_cash(self, name):
        """Fees never drive cash below nothing: buys stop when it is used up."""
        costs = Costs(round_trip_bps=400, impact_coefficient=0, borrow_bps_per_year=0, aum=100)
        result = run(name, scores(d0=FIRST, d2=SECOND), FLAT, costs=costs)
        assert result.returns["cash"].min() >= -1e-9
        assert result.trades["cost"].sum() == pytest.approx(0.02 * result.trades["value"].sum())

    def test_squeeze(self, name):
        """Every price times forty overnight ruins who is short enough, and nobody else."""
        prices = bars(
            **{n: [10.0, 10.0, 400.0, 1.0, 1.0] for n in "CD"}, **dict.fromkeys("AB", [10.0] * 5)
        )
        result = run(name, scores(d0=FIRST, d2=SECOND), prices)
        book = trades(run(name, scores(d0=FIRST), FLAT))[1]
        equity = 100 + sum(390 * shares for ticker, shares in book.items() if ticker in "CD")
        ruined = "ruined" in set(result.flags["flag"])
        assert ruined == (equity <= 0)
        if ruined:
            assert result.returns["net"].to_list()[1:] == [-1.0, 0.0, 0.0]
            assert result.trades["date"].max() == day(1)
            assert result.stats["max_drawdown"] == -1.0

    def test_no_scores(self, name):
        result = run(name, scores(d0=(NAN,) * 4, d2=(NAN,) * 4), FLAT)
        assert result.trades.is_empty()
        assert result.stats["n_sessions"] == 0

    def test_scores_that_end_keep_the_book(self, name):
        result = run(name, scores(d0=FIRST, d2=(NAN,) * 4), FLAT)
        assert set(trades(result)) == {1}


@pytest.mark.parametrize("name", RANKED)
def test_ties_close_the_book_where_an_order_is_needed(name):
    if name == "momentum_blend":  # its other rank still orders the names
        assert trades(run(name, scores(d0=(1, 1, 1, 1)), FLAT)) == {1: {"B": 5, "A": -5}}
        return
    assert run(name, scores(d0=(1, 1, 1, 1)), FLAT).trades.is_empty()
    opened, closed = (trades(run(name, scores(d0=FIRST, d2=(1, 1, 1, 1)), FLAT))[i] for i in (1, 3))
    assert closed == pytest.approx({ticker: -shares for ticker, shares in opened.items()})


@pytest.mark.parametrize("name", ["equal_weight", "buy_and_hold"])
def test_ties_do_not_matter_where_no_order_is_needed(name):
    assert trades(run(name, scores(d0=(1, 1, 1, 1)), FLAT)) == TABLE[name]


def test_cash_that_is_used_up_fills_the_last_buy_in_part():
    """All in at 2 % a trade: 100 buys 100 / 1.02 / 10 shares."""
    costs = Costs(round_trip_bps=400, impact_coefficient=0, borrow_bps_per_year=0, aum=100)
    result = run("long_top_k", scores(d0=FIRST), FLAT, costs=costs)
    assert trades(result) == {1: {"A": round(100 / 1.02 / 10, 6)}}
    assert result.returns["cash"].to_list() == pytest.approx([0.0] * 4, abs=1e-9)
