"""Every figure at once: against its parts, in corners, and blind to the future."""

from __future__ import annotations

import json

import polars as pl
import pytest

from backtest.costs import Costs
from backtest.gates import evaluate_gates
from backtest.judge import judge
from backtest.judgement import JudgedMarket, JudgingRules, TargetPortfolio
from strategies import LongShortQuantile

COSTS = Costs(round_trip_bps=10, impact_coefficient=50, borrow_bps_per_year=50, aum=1e6)


def run(market, rules, *, panel=None, prices=None, benchmark=True, until=None, smallest=10):
    panel = market.panel if panel is None else panel
    found = judge(
        panel,
        TargetPortfolio(
            LongShortQuantile().weights(panel),
            COSTS,
            "long_short_quantile",
            until=until or market.sessions[-1],
        ),
        JudgedMarket(
            market.prices if prices is None else prices,
            tuple(market.sessions),
            market.benchmark if benchmark else None,
        ),
        JudgingRules(
            min_cross_section=smallest,
            top_k=10,
            regime_min_dates=rules.regimes.min_dates,
            regime_min_names=rules.regimes.min_names,
            draws=100,
        ),
    )
    json.dumps(found.metrics, allow_nan=False)
    return found


@pytest.fixture(scope="module")
def market(world):
    return world(skill=0.3)


def test_figures_agree_with_their_frames(market, rules):
    found = run(market, rules)
    figures = found.metrics["horizons"]["20"]
    ic = found.ic.filter(pl.col("horizon") == 20)
    excess = found.net_excess.filter(pl.col("horizon") == 20)
    assert figures["n_dates"] == ic.height == excess.height
    assert figures["rank_ic_mean"] == pytest.approx(ic["rank_ic"].mean())
    assert figures["rank_ic_next_open"] == pytest.approx(ic["rank_ic_next_open"].mean())
    assert figures["positive_share"] == pytest.approx((ic["rank_ic"] > 0).mean())
    assert figures["icir"] == pytest.approx(ic["rank_ic"].mean() / ic["rank_ic"].std())
    assert figures["net_excess_mean"] == pytest.approx(excess["net_excess"].mean())
    assert figures["n_dates_immature"] == 1
    assert figures["n_names_median"] == 20
    low, high = figures["ci95"]
    assert low < figures["rank_ic_mean"] < high
    assert found.metrics["cost_survival"]["20"] == figures["cost_survival"]
    assert found.metrics["breakeven_bps"] == figures["breakeven_bps"]
    assert found.metrics["churn"]["k"] == 4
    assert set(found.metrics["baselines"]) == {"momentum_1m", "momentum_12m"}
    portfolio = found.metrics["portfolio"]
    assert portfolio["n_sessions"] == found.returns.height
    assert portfolio["n_trades"] == found.trades.height
    assert found.first_asof == market.panel["asof"].min()
    assert found.last_asof == market.panel["asof"].max()


def test_benchmark_is_held_from_the_first_fill(market, rules):
    found = run(market, rules)
    days = market.benchmark.filter(pl.col("date") >= found.returns["date"][0])
    total = (1 + found.returns["benchmark"]).product()
    assert total == pytest.approx(days["close"][-1] / days["open"][0])
    without = run(market, rules, benchmark=False)
    assert without.returns["benchmark"].null_count() == without.returns.height
    assert without.metrics["portfolio"]["benchmark_sharpe"] is None


def test_perfect_foresight(world, rules):
    found = run(world(skill=1.0), rules)
    assert found.metrics["horizons"]["20"]["rank_ic_mean"] == pytest.approx(1.0)
    gates = evaluate_gates(found, rules=rules, training_period="known")["gates"]
    assert gates[0]["verdict"] == "PASS"


def test_inverted_scores_never_pass(market, rules):
    panel = market.panel.with_columns(-pl.col("score"))
    gates = evaluate_gates(run(market, rules, panel=panel), rules=rules, training_period="known")
    assert all(gate["verdict"] != "PASS" for gate in gates["gates"])
    assert gates["gates"][0]["verdict"] == "FAIL"


def test_constant_scores_are_counted_and_trade_nothing(market, rules):
    found = run(market, rules, panel=market.panel.with_columns(score=pl.lit(0.1)))
    figures = found.metrics["horizons"]["20"]
    assert (figures["n_dates"], figures["n_dates_constant"]) == (0, 19)
    assert figures["rank_ic_mean"] is None
    assert figures["churn_median"] is None
    assert found.trades.height == 0
    assert found.ic["rank_ic"].null_count() == found.ic.height == 38


def test_too_few_names_are_counted_as_thin(market, rules):
    found = run(market, rules, smallest=21)
    figures = found.metrics["horizons"]["20"]
    assert (figures["n_dates"], figures["n_dates_thin"]) == (0, 19)
    assert found.ic.height == 0


def test_one_date(market, rules):
    first = market.panel.filter(pl.col("asof") == pl.col("asof").min())
    figures = run(market, rules, panel=first).metrics["horizons"]["20"]
    assert figures["n_dates"] == 1
    assert figures["rank_ic_mean"] is not None
    assert figures["ci95"] is None
    assert figures["icir"] is None


def test_no_dates(market, rules):
    found = run(market, rules, panel=market.panel.clear())
    assert found.metrics["horizons"] == {}
    assert found.metrics["portfolio"]["n_sessions"] == 0
    assert (found.first_asof, found.last_asof) == (None, None)
    gates = evaluate_gates(found, rules=rules, training_period="known")["gates"]
    assert {gate["verdict"] for gate in gates} == {"INCONCLUSIVE"}


def test_missing_factor_leaves_redundancy_unknown(market, rules):
    found = run(market, rules, panel=market.panel.drop("momentum_12m"))
    assert found.metrics["horizons"]["20"]["redundancy"] is None


def test_later_rows_change_no_earlier_figure(world, rules):
    """Scores, labels, prices and volumes after a date replaced by noise."""
    market, noise = world(skill=0.3), world(skill=0.0, seed=99)
    asofs = market.panel["asof"].unique().sort()
    cut = asofs[12]
    panel = pl.concat(
        [market.panel.filter(pl.col("asof") <= cut), noise.panel.filter(pl.col("asof") > cut)]
    )
    prices = pl.concat(
        [market.prices.filter(pl.col("date") <= cut), noise.prices.filter(pl.col("date") > cut)]
    )
    calm, noisy = run(market, rules), run(market, rules, panel=panel, prices=prices)
    for name, column in [("ic", "asof"), ("churn", "asof"), ("net_excess", "asof")]:
        past = pl.col(column) <= cut
        assert getattr(calm, name).filter(past).equals(getattr(noisy, name).filter(past)), name
    past = pl.col("date") <= cut
    columns = ["date", "gross", "net", "turnover"]
    before = calm.returns.filter(past).select(columns)
    assert before.equals(noisy.returns.filter(past).select(columns))
    early = market.panel.filter(pl.col("asof") <= cut)
    until = run(market, rules, panel=early, until=cut)
    again = run(market, rules, panel=early, until=cut, prices=prices)
    assert until.metrics == again.metrics


def test_same_seed_same_figures(market, rules):
    assert run(market, rules).metrics == run(market, rules).metrics
