"""Seeded report inputs that look like real runs: full, thin and empty."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from places import ROOT

from backtest.gates.rules import parse_gate_rules
from backtest.report import ReportData, write_report

HORIZONS = (5, 10, 20)
RULES = parse_gate_rules(yaml.safe_load((ROOT / "configs" / "gates.yaml").read_text()))
HOSTILE = '<script>alert("x")</script>|*a*`b`'


def month_ends(first_year: int, months: int) -> list[date]:
    ends = []
    for i in range(months):
        year, month = first_year + (i + 1) // 12, (i + 1) % 12 + 1
        ends.append(date(year, month, 1) - timedelta(days=1))
    return ends


def weekdays(start: date, end: date) -> list[date]:
    days = [start + timedelta(days=i) for i in range((end - start).days + 1)]
    return [d for d in days if d.weekday() < 5]


def horizon_metrics(rng, ic, horizon, n_names):
    series = ic.filter(pl.col("horizon") == horizon)["rank_ic"].drop_nulls().to_numpy()
    mean, std = series.mean(), series.std(ddof=1)
    half = 2.2 * std / np.sqrt(len(series))
    return {
        "n_dates": len(series),
        "n_dates_constant": 1,
        "n_dates_thin": 0,
        "n_dates_immature": 1,
        "n_names_median": n_names,
        "rank_ic_mean": float(mean),
        "rank_ic_std": float(std),
        "icir": float(mean / std),
        "rank_ic_headline": float(np.median(series)),
        "hac_t": float(2.2 * mean / half),
        "hac_lag": 12,
        "ci95": [float(mean - half), float(mean + half)],
        "bootstrap_ci95": [float(mean - 0.9 * half), float(mean + 0.9 * half)],
        "positive_share": float((series > 0).mean()),
        "ic_mean": float(mean * 0.9),
        "rank_ic_next_open": float(mean * 0.93),
        "rank_ic_next_open_ci95": [float(mean * 0.93 - half), float(mean * 0.93 + half)],
        "excess_mean": 0.0004 * horizon,
        "net_excess_mean": 0.0004 * horizon - 0.0011,
        "net_excess_ci95": [0.0004 * horizon - 0.006, 0.0004 * horizon + 0.0041],
        "cost_survival": 0.55,
        "breakeven_bps": 23.4 + horizon,
        "churn_median": 0.45,
        "redundancy": float(rng.uniform(0.1, 0.3)),
        "redundancy_ci95": [0.05, 0.41],
    }


def frames(rng, asofs, *, in_training, n_names=96, horizons=HORIZONS):
    rows = [(a, h) for a in asofs for h in horizons]
    values = rng.normal(0.03, 0.13, len(rows))
    flags = [in_training] * len(rows)
    keys = {"asof": [a for a, _ in rows], "horizon": [h for _, h in rows]}
    types = {"horizon": pl.Int32}
    ic = pl.DataFrame(
        {**keys, "n": [n_names] * len(rows), "rank_ic": values,
         "rank_ic_next_open": values * 0.93, "in_training": flags}, schema_overrides=types,
    )  # fmt: skip
    ic = ic.with_columns(
        pl.when(pl.col("asof") == asofs[3]).then(None).otherwise(pl.col("rank_ic")).alias("rank_ic")
    )
    churn = pl.DataFrame(
        {**keys, "churn": rng.choice([0.2, 0.35, 0.45, 0.5, 0.6], len(rows)), "in_training": flags},
        schema_overrides=types,
    ).with_columns(
        pl.when(pl.col("asof") == asofs[0]).then(None).otherwise(pl.col("churn")).alias("churn")
    )
    excess = rng.normal(0.003, 0.02, len(rows))
    net_excess = pl.DataFrame(
        {**keys, "fold": [f"{a:%Y-%m}" for a, _ in rows], "excess": excess,
         "cost": [0.0011] * len(rows), "net_excess": excess - 0.0011, "in_training": flags},
        schema_overrides=types,
    )  # fmt: skip
    days = weekdays(asofs[0] + timedelta(days=1), asofs[-1])
    gross = rng.normal(0.0003, 0.006, len(days))
    returns = pl.DataFrame(
        {"date": days, "gross": gross, "net": gross - 0.00008,
         "benchmark": rng.normal(0.0004, 0.011, len(days)),
         "turnover": np.where(np.arange(len(days)) % 21 == 0, 0.6, 0.0),
         "in_training": [in_training] * len(days)}
    )  # fmt: skip
    quantile_rows = [(h, q) for h in horizons for q in range(1, 6)]
    quantiles = pl.DataFrame(
        {"horizon": [h for h, _ in quantile_rows], "quantile": [q for _, q in quantile_rows],
         "mean_label": [0.0002 * h * (q - 3) + rng.normal(0, 0.0004) for h, q in quantile_rows],
         "n": [1600] * len(quantile_rows), "in_training": [in_training] * len(quantile_rows)},
        schema_overrides={"horizon": pl.Int32, "quantile": pl.Int32},
    )  # fmt: skip
    return {
        "ic": ic, "churn": churn, "net_excess": net_excess,
        "returns": returns, "quantiles": quantiles,
    }  # fmt: skip


def portfolio_metrics(first, last):
    return {
        "strategy": "long_short_quantile", "first_date": str(first), "last_date": str(last),
        "n_sessions": 2087, "return_total_gross": 0.83, "return_total_net": 0.52,
        "return_annual_gross": 0.0752, "return_annual_net": 0.0513, "volatility_annual": 0.0951,
        "sharpe_gross": 0.81, "sharpe_net": 0.57, "max_drawdown": -0.183, "turnover_annual": 7.2,
        "cost_annual": 0.0144, "borrow_annual": 0.0035, "n_trades": 4310,
        "gross_exposure_mean": 0.99, "net_exposure_mean": 0.002,
        "benchmark_return_annual": 0.1011, "benchmark_sharpe": 0.61,
    }  # fmt: skip


def attribution_frame(rng, returns):
    n = returns.height
    return returns.select(
        "date", "turnover",
        long=pl.Series(rng.normal(0.0002, 0.004, n)), short=pl.Series(rng.normal(0, 0.004, n)),
        cost=pl.Series(rng.uniform(0, 0.0001, n)), long_exposure=pl.lit(0.5),
        short_exposure=pl.Series(rng.uniform(0.45, 0.55, n)),
        beta=pl.Series([None] * 62 + list(rng.normal(0.1, 0.1, n - 62)), dtype=pl.Float64),
    )  # fmt: skip


def strategy_metrics():
    """What a run with a grid and entry strategies adds."""
    name = {"profit": 0.12, "cost": 0.01, "sessions": 210, "net": 0.11}
    figures = {"n_orders": 960, "n_filled": 512, "fill_net_bps": -3.2, "return_annual_net": -0.021,
               "sharpe_net": -0.42, "deflated_sharpe": 0.002, "max_drawdown": -0.09}  # fmt: skip
    return {
        "attribution": {
            "legs": [{"leg": "long", "profit": 0.61, "cost": 0.05, "borrow": 0.0},
                     {"leg": "short", "profit": -0.12, "cost": 0.04, "borrow": 0.02}],
            "costs": [{"kind": "spread", "cost": 0.06}, {"kind": "impact", "cost": 0.03},
                      {"kind": "borrow", "cost": 0.02}],
            "regimes": [{"kind": "trend", "regime": "bull", "profit": 0.4, "cost": 0.05,
                         "n_sessions": 1400}],
            "names": {"n": 30, "best": [{"ticker": HOSTILE, **name}],
                      "worst": [{"ticker": "T003", **name, "net": -0.07}]},
            "holding": {"n_positions": 310, "n_open": 20, "sessions_median": 42.0,
                        "sessions_mean": 55.1},
            "exposure": {"long_mean": 0.5, "short_mean": 0.5, "net_min": -0.05, "net_max": 0.06},
            "beta": {"sessions": 63, "mean": 0.11, "min": -0.2, "max": 0.4}},
        "selection": {
            "n_points": 12, "overfitting_probability": 0.41,
            "choices": [
                {"fold": "2010-01-31", "chosen": "quantile 0.1", "sharpe": None, "n_sessions": 0},
                {"fold": "2011-01-31", "chosen": "quantile 0.2", "sharpe": 0.9, "n_sessions": 260}],
            "in_sample_best": {"chosen": "quantile 0.2", "sharpe_net": 0.88}},
        "entry": {
            "simple": {"out_of_sample": figures},
            "maxdiff": {
                "out_of_sample": figures,
                "in_sample": {"return_annual_net": 0.1717, "sharpe_net": 2.9},
                "n_offsets_searched": 25,
                "offsets": [{"fold": "2011-02-01", "entry_offset": 0.005, "target_offset": -0.01,
                             "n_orders": 96}]}},
    }  # fmt: skip


def regime_rows(rng):
    rows = []
    for kind, names in (("volatility", ("low", "mid", "high")), ("trend", ("bull", "bear"))):
        for name in names:
            for h in HORIZONS:
                mean, thin = float(rng.normal(0.03, 0.02)), name == "high"
                rows.append(
                    {"kind": kind, "regime": name, "horizon": h, "n_dates": 7 if thin else 40,
                     "n_names_median": 96, "rank_ic_mean": mean,
                     "ci95": None if thin and h == 20 else [mean - 0.045, mean + 0.05],
                     "thin": thin}
                )  # fmt: skip
    return rows


def gates_dict(m20):
    conditions = [
        {"name": f"RankIC ≥ 0.02 at {h} sessions", "verdict": v, "value": x, "ci95": [x - 0.03, x + 0.03],
         "threshold": 0.02, "part_of": "RankIC ≥ 0.02 on at least 2 horizons"}
        for h, v, x in ((5, "INCONCLUSIVE", 0.0199), (10, "PASS", 0.061), (20, "INCONCLUSIVE", 0.031))
    ]  # fmt: skip
    return {
        "version": 1,
        "gates": [
            {"name": "factor", "verdict": "INCONCLUSIVE",
             "numbers": {"n_pass": 1, "rank_ic_mean": {"20": m20["rank_ic_mean"]}},
             "conditions": [
                 {"name": "RankIC ≥ 0.02 on at least 2 horizons", "verdict": "INCONCLUSIVE",
                  "value": 1.0, "ci95": None, "threshold": 2.0, "part_of": None}, *conditions],
             "reasons": ["RankIC is at or above 0.02 beyond doubt on 1 horizon; 2 are needed.",
                         "With the next open as entry the verdict is the same."]},
            {"name": "ml", "verdict": "INCONCLUSIVE", "numbers": {}, "conditions": [],
             "reasons": ["No baseline in the run."]},
            {"name": "practical", "verdict": "FAIL", "numbers": {"churn_median": 0.45},
             "conditions": [
                 {"name": "median churn ≤ 0.30", "verdict": "FAIL", "value": 0.45, "ci95": None,
                  "threshold": 0.30},
                 {"name": "mean net excess > 0 at 20 sessions", "verdict": "INCONCLUSIVE",
                  "value": 0.0069, "ci95": [-0.002, 0.0121], "threshold": 0},
                 {"name": "cost survival ≥ 30 % at 20 sessions", "verdict": "PASS", "value": 0.55,
                  "ci95": None, "threshold": 0.3}],
             "reasons": ["Median churn is 0.45, above 0.30."]},
        ],
    }  # fmt: skip


MANIFEST = {
    "code_version": "0.1.0", "git_commit": "9f2c1d0", "created": "2026-01-05T10:00:00Z",
    "model_hash": "b6" * 32, "data_hash": "a1" * 32, "seeds": {"run": 7},
    "packages": {"torch": "2.11.0", "polars": "2.1.0"},
    "timings": {"scoring_s": 41.2, "judging_s": 3.1}, "shards_reused": 0, "shards_computed": 21,
}  # fmt: skip
CONFIG = {
    "run": {"name": "us-daily", "dir": "runs", "seed": 7},
    "model": {"name": "kronos-nano", "trained_until": None},
    "scoring": {"horizons": [5, 10, 20], "lookback": 90, "sampling": {"temperature": 1.0, "paths": 5}},
    "costs": {"round_trip_bps": 10.0, "impact_coefficient": 10.0},
}  # fmt: skip


def full_data() -> ReportData:
    rng = np.random.default_rng(3)
    judged, training = month_ends(2010, 96), month_ends(2006, 48)
    outside = frames(rng, judged, in_training=False)
    inside = frames(rng, training, in_training=True)
    horizons = {str(h): horizon_metrics(rng, outside["ic"], h, 96) for h in HORIZONS}
    tickers = [f"T{i:03d}" for i in range(29)] + [HOSTILE]
    weights = pl.DataFrame(
        {"asof": [judged[-1]] * 30, "ticker": tickers,
         "weight": [0.5 / 15 * (1 if i < 15 else -1) * (1 + 0.02 * i) for i in range(30)]}
    )  # fmt: skip
    metrics = {
        "version": 1,
        "run": {"name": "us-daily", "model": "kronos-nano", "trained_until": "2009-12-31",
                "training_period": "known", "first_asof": str(training[0]),
                "last_asof": str(judged[-1]), "n_asofs": 144, "n_tickers": 98,
                "rebalance": "monthly", "benchmark": "SPY", "k": 10},
        "horizons": horizons,
        "in_training": {
            "horizons": {str(h): horizon_metrics(rng, inside["ic"], h, 88) for h in HORIZONS},
            "portfolio": portfolio_metrics(training[0], training[-1]),
            "first_asof": str(training[0]), "last_asof": str(training[-1])},
        "churn": {"rebalance_median": 0.45, "daily_median": None, "k": 10},
        "cost_survival": {str(h): 0.55 for h in HORIZONS}, "breakeven_bps": 43.4,
        "portfolio": portfolio_metrics(judged[0], judged[-1]),
        "regimes": regime_rows(rng),
        "baselines": {
            "momentum_12m": {str(h): {"n_dates": 95, "rank_ic_mean": 0.012, "ci95": [-0.03, 0.054]}
                             for h in HORIZONS},
            "reversal_5d": {"5": {"n_dates": 95, "rank_ic_mean": -0.004, "ci95": [-0.03, 0.022]},
                            "10": {"n_dates": 95, "rank_ic_mean": 0.001, "ci95": None}}},
        "drops": {"window shorter than the lookback": 412, "quarantined: high below low": 3,
                  "label not mature": 96, "no such reason": 0},
        **strategy_metrics(),
    }  # fmt: skip
    quarantine = pl.DataFrame(
        {"ticker": ["T001", HOSTILE], "date": [date(2012, 3, 5), None],
         "rule": ["high below low", "close is NaN"], "message": ["high 10.1 < low 10.4", "row removed"],
         "source": ["bars.parquet", "<b>bars</b>.parquet"]}
    )  # fmt: skip
    merged = {name: pl.concat([inside[name], outside[name]]) for name in outside}
    return ReportData(
        metrics=metrics, gates=gates_dict(horizons["20"]), manifest=MANIFEST, config=CONFIG, rules=RULES,
        weights=weights, quarantine=quarantine,
        attribution=attribution_frame(rng, outside["returns"]), **merged,
    )  # fmt: skip


def thin_data() -> ReportData:
    """Four names, one horizon, ten dates, no benchmark, no portfolio, null intervals."""
    rng = np.random.default_rng(5)
    parts = frames(rng, month_ends(2012, 10), in_training=False, n_names=4, horizons=(20,))
    m = horizon_metrics(rng, parts["ic"], 20, 4)
    m |= {key: None for key in m if key.endswith("ci95")} | {
        "hac_t": None, "breakeven_bps": None, "redundancy": None, "cost_survival": None,
    }  # fmt: skip
    reason = "4 names a date; at least 10 are needed."
    gate = {"verdict": "INCONCLUSIVE", "numbers": {}, "conditions": [], "reasons": [reason]}
    metrics = {
        "version": 1,
        "run": {"name": "demo", "model": "kronos-nano", "trained_until": None,
                "training_period": "unknown", "first_asof": "2012-01-31", "last_asof": "2012-10-31",
                "n_asofs": 10, "n_tickers": 4, "rebalance": "monthly", "benchmark": None, "k": 1},
        "horizons": {"20": m}, "in_training": None, "churn": {"rebalance_median": 0.5},
        "portfolio": None, "regimes": [], "baselines": {}, "drops": {},
    }  # fmt: skip
    return ReportData(
        metrics=metrics,
        gates={"version": 1, "gates": [{"name": n, **gate} for n in ("factor", "ml", "practical")]},
        manifest={}, config={}, rules=RULES,
        **(parts | {"returns": parts["returns"].with_columns(benchmark=pl.lit(None, pl.Float64))}),
    )  # fmt: skip


def empty_data() -> ReportData:
    """Dates were scored, but none has enough names: nothing is judged."""
    blank = {"n_dates": 0, "n_dates_thin": 7, "n_dates_constant": 0, "n_dates_immature": 1,
             "n_names_median": None, "rank_ic_mean": None, "ci95": None}  # fmt: skip
    gate = {"verdict": "INCONCLUSIVE", "numbers": {}, "reasons": ["No date could be judged."]}
    metrics = {
        "version": 1,
        "run": {"name": "nothing", "model": "momentum", "trained_until": None,
                "training_period": "none", "first_asof": "2024-01-31", "last_asof": "2024-08-30",
                "n_asofs": 8, "n_tickers": 3, "rebalance": "monthly", "benchmark": None, "k": None},
        "horizons": {"5": blank, "20": blank}, "in_training": None, "churn": None,
        "portfolio": None, "regimes": None, "baselines": None,
        "drops": {"fewer names than min_cross_section": 21, "label not mature": 3},
    }  # fmt: skip
    return ReportData(
        metrics=metrics,
        gates={"version": 1, "gates": [{"name": n, **gate} for n in ("factor", "ml", "practical")]},
        manifest={}, config={"evaluation": {"min_cross_section": 10}},
        rules=RULES,
    )  # fmt: skip


BUILDERS = {"full": full_data, "thin": thin_data, "empty": empty_data}


@pytest.fixture(scope="session")
def samples() -> dict[str, ReportData]:
    return {name: build() for name, build in BUILDERS.items()}


@pytest.fixture(scope="session")
def folders(samples, tmp_path_factory) -> dict[str, Path]:
    """One written report per sample."""
    root = tmp_path_factory.mktemp("reports")
    for name, data in samples.items():
        write_report(root / name, data)
    return {name: root / name for name in samples}


@pytest.fixture
def hostile() -> str:
    return HOSTILE


@pytest.fixture
def replaced():
    """`dataclasses.replace` for report inputs."""
    return replace
