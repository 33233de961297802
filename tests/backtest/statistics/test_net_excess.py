"""Net excess, cost survival, break-even cost and capacity, by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest

from backtest.costs import Costs
from backtest.statistics.churn import rank_top
from backtest.statistics.net_excess import (
    breakeven_bps,
    capacity,
    capacity_curve,
    cost_overlay,
    cost_survival,
    excess_after_costs,
    hit_rate,
    top_members,
)

SESSIONS = [date(2020, 1, 1) + timedelta(days=i) for i in range(60)]
IMPACT = Costs(round_trip_bps=20, impact_coefficient=50, borrow_bps_per_year=0, aum=1e6)
SPREAD = Costs(round_trip_bps=100, impact_coefficient=0, borrow_bps_per_year=0, aum=1e6)


def panel(rows: list[tuple[int, dict[str, tuple[float, float | None]]]], *, horizon: int):
    """(session, {ticker: (score, label)}) a date."""
    return pl.DataFrame(
        [
            (SESSIONS[i], ticker, horizon, float(score), label, "ok", f"fold {i}")
            for i, names in rows
            for ticker, (score, label) in names.items()
        ],
        schema={
            "asof": pl.Date,
            "ticker": pl.String,
            "horizon": pl.Int32,
            "score": pl.Float64,
            "label": pl.Float64,
            "status": pl.String,
            "fold": pl.String,
        },
        orient="row",
    )


def prices(*tickers: str, amount: float = 1e8) -> pl.DataFrame:
    return pl.DataFrame(
        [(day, ticker, 10.0, 10.0, amount) for day in SESSIONS for ticker in tickers],
        schema=["date", "ticker", "open", "close", "amount"],
        orient="row",
    )


def best(ticker: str, label: float | None) -> dict[str, tuple[float, float | None]]:
    """Five names of which one leads: K = 1."""
    return {name: (float(name == ticker), label if name == ticker else 0.0) for name in "ABCDE"}


def net_excess(frame, bars, judged, *, costs: Costs, top_k: int) -> pl.DataFrame:
    ranked = rank_top(frame, top_k=top_k)
    return excess_after_costs(top_members(ranked, bars, judged, sessions=SESSIONS), costs=costs)


def judge(frame: pl.DataFrame, *, costs: Costs = SPREAD, top_k: int = 10) -> pl.DataFrame:
    judged = frame.select("asof", "horizon").unique()
    return net_excess(frame, prices(*"ABCDE"), judged, costs=costs, top_k=top_k)


@pytest.mark.parametrize(
    ("days", "leaders", "horizon", "turnover"),
    [
        # the first date is a full entry; afterwards only what changed is traded
        ([0, 10, 20], "AAB", 10, [1.0, 0.0, 1.0]),
        # t − h lies between rebalances: the last one at or before it counts
        ([0, 10, 20], "ABA", 12, [1.0, 1.0, 0.0]),
        # no rebalance is h sessions old yet
        ([0, 10, 20], "AAA", 40, [1.0, 1.0, 1.0]),
        # several rebalances within one horizon: compared with the position that just ended
        ([0, 5, 10, 15], "ABAB", 10, [1.0, 1.0, 0.0, 0.0]),
    ],
)
def test_turnover_is_against_the_position_that_just_ended(days, leaders, horizon, turnover):
    frame = panel(
        [(i, best(leader, 0.03)) for i, leader in zip(days, leaders, strict=True)], horizon=horizon
    )
    result = judge(frame)
    assert result["turnover"].to_list() == turnover
    assert result["cost"].to_list() == pytest.approx([0.01 * part for part in turnover])
    assert result["net_excess"].to_list() == pytest.approx([0.03 - 0.01 * t for t in turnover])


def test_impact_of_each_entering_name():
    """1,000,000 in one name of 100,000,000 a day: 50 · √0.01 bps each way, and the spread."""
    costs = Costs(round_trip_bps=20, impact_coefficient=50, borrow_bps_per_year=0, aum=1e6)
    result = judge(panel([(0, best("A", 0.03))], horizon=10), costs=costs)
    assert result["cost"][0] == pytest.approx(2 * (10 + 5) / 1e4)


def test_missing_labels_leave_the_mean_and_unjudged_dates_the_frame():
    names = {name: (float(10 - i), 0.1 * i) for i, name in enumerate("ABCDEFGHIJ")}
    names["A"] = (10.0, None)
    frame = panel([(0, names), (10, best("A", 0.02))], horizon=5)
    judged = frame.select("asof", "horizon").unique().filter(pl.col("asof") == SESSIONS[0])
    result = net_excess(frame, prices(*"ABCDEFGHIJ"), judged, costs=SPREAD, top_k=2)
    assert result["excess"].to_list() == pytest.approx([0.1])


def series(excess: list[float], turnover: list[float], cost: list[float]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "fold": [f"fold {i // 2}" for i in range(len(excess))],
            "excess": excess,
            "turnover": turnover,
            "cost": cost,
            "net_excess": [a - b for a, b in zip(excess, cost, strict=True)],
        }
    )


def test_cost_survival_is_a_share_of_folds():
    frame = series([0.03, -0.01, 0.0, -0.01, 0.02, 0.02], [1.0] * 6, [0.0] * 6)
    assert cost_survival(frame) == pytest.approx(2 / 3)
    assert cost_survival(frame.clear()) is None


def test_breakeven_is_where_the_mean_net_excess_is_zero():
    frame = members(0.01)  # half of it enters, at an impact of 50·√(500,000 / 10⁸) a trade
    bps = breakeven_bps(frame, costs=IMPACT)
    assert bps == pytest.approx(200 - 2 * 50 * (5e5 / 1e8) ** 0.5)
    even = excess_after_costs(frame, costs=replace(IMPACT, round_trip_bps=bps))
    assert even["net_excess"].mean() == pytest.approx(0, abs=1e-12)
    assert breakeven_bps(members(-0.015), costs=SPREAD) == pytest.approx(-300)
    assert breakeven_bps(frame.with_columns(kept=True), costs=IMPACT) is None
    assert breakeven_bps(frame.clear(), costs=IMPACT) is None


def test_breakeven_knows_the_cap_of_a_trade():
    # Half of the book enters at up to 500 bps a trade, there and back: 5 % at most.
    assert breakeven_bps(members(0.0499), costs=IMPACT) == pytest.approx(998 - 100 * 0.005**0.5)
    assert breakeven_bps(members(0.0501), costs=IMPACT) is None
    assert breakeven_bps(members(0.0501), costs=SPREAD) is None


def test_breakeven_where_some_trades_are_capped():
    thin = pl.when(pl.col("asof") < SESSIONS[10]).then(1e4).otherwise("adv")
    frame = members(0.045).with_columns(adv=thin)
    costs = replace(IMPACT, impact_coefficient=60.0)
    bps = breakeven_bps(frame, costs=costs)
    # Ten dates pay the cap whatever the spread; the others make up for what they lose.
    assert bps == pytest.approx(4 * 450 - 1000 - 2 * 60 * 0.005**0.5)
    even = excess_after_costs(frame, costs=replace(costs, round_trip_bps=bps))
    assert even["net_excess"].mean() == pytest.approx(0, abs=1e-12)


def test_prices_after_the_asof_change_no_cost():
    costs = Costs(round_trip_bps=20, impact_coefficient=50, borrow_bps_per_year=0, aum=1e6)
    frame = panel([(20, best("A", 0.03))], horizon=10)
    judged = frame.select("asof", "horizon").unique()
    calm = prices(*"ABCDE")
    noisy = calm.with_columns(
        amount=pl.when(pl.col("date") > SESSIONS[20]).then(1.0).otherwise("amount")
    )
    before, after = (
        net_excess(frame, bars, judged, costs=costs, top_k=1) for bars in (calm, noisy)
    )
    assert before.equals(after)


def members(label: float = 0.01, *, dates: int = 20, adv: float = 1e8) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "asof": [day for day in SESSIONS[:dates] for _ in "AB"],
            "horizon": pl.Series([5] * 2 * dates, dtype=pl.Int32),
            "ticker": ["A", "B"] * dates,
            "k": [2] * 2 * dates,
            "kept": [False, True] * dates,
            "label": [label] * 2 * dates,
            "fold": [f"{day:%Y-%m}" for day in SESSIONS[:dates] for _ in "AB"],
            "adv": [adv] * 2 * dates,
        }
    )


def test_capacity_is_where_the_net_excess_is_zero():
    frame = members()
    found = capacity(frame, costs=IMPACT)
    # half the book trades: 0.01 = 0.5 · 2 · (10 + 50 √(aum/2 / 1e8)) bps
    assert found == pytest.approx(2e8 * (90 / 50) ** 2, rel=1e-6)
    curve = capacity_curve(frame, costs=IMPACT)
    values = [point["net_excess_mean"] for point in curve]
    assert values == sorted(values, reverse=True)
    at_base = next(point for point in curve if point["aum"] == 1e6)
    frame_mean = excess_after_costs(frame, costs=IMPACT)["net_excess"].mean()
    assert at_base["net_excess_mean"] == pytest.approx(frame_mean)


def test_capacity_without_an_answer():
    free = Costs(round_trip_bps=0, impact_coefficient=0, borrow_bps_per_year=0, aum=1e6)
    assert capacity(members(), costs=free) is None
    assert capacity(members(-0.01), costs=IMPACT) == 0.0
    assert capacity(members().clear(), costs=IMPACT) is None
    assert capacity_curve(members().clear(), costs=IMPACT) == []


def test_cost_overlay_orders_low_base_high():
    found = cost_overlay(members(), costs=IMPACT, horizon=5, sessions=SESSIONS)
    means = [found[name]["net_excess_mean"] for name in ("low", "base", "high")]
    assert means == sorted(means, reverse=True)
    assert found["high"]["round_trip_bps"] == 40


def test_hit_rate_is_the_share_of_labels_above_zero():
    frame = members().with_columns(
        label=pl.when(pl.col("ticker") == "A").then(0.01).otherwise(-0.01)
    )
    assert hit_rate(frame) == 0.5
