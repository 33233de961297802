"""The report's tables and charts of what no gate asks for."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from matplotlib.image import imread

from backtest.report import judging_tables as tables
from backtest.report.charts import TITLES, draw_charts
from backtest.report.data import ReportData
from backtest.report.html import render_html
from backtest.report.markdown import render_markdown

BLOCK = {
    "n_dates": 60,
    "rank_ic_mean": 0.05,
    "ci95": [0.01, 0.09],
    "net_excess_mean": 0.004,
    "turnover_mean": 0.5,
    "breakeven_bps": 90.0,
    "neutral_rank_ic": 0.03,
    "neutral_rank_ic_ci95": [-0.01, 0.07],
    "neutral_factors": ["momentum_12m", "beta_252"],
    "hit_rate": 0.53,
    "quantile_monotonicity": 0.9,
    "capacity_aum": 2.5e8,
    "capacity_curve": [
        {"aum": 1e5, "net_excess_mean": 0.004},
        {"aum": 1e9, "net_excess_mean": -0.001},
    ],
    "cost_overlay": {
        "low": {"round_trip_bps": 5.0, "net_excess_mean": 0.005, "ci95": [0.001, 0.009]},
        "base": {"round_trip_bps": 10.0, "net_excess_mean": 0.004, "ci95": [0.0, 0.008]},
        "high": {"round_trip_bps": 20.0, "net_excess_mean": 0.002, "ci95": [-0.002, 0.006]},
    },
    "forecast": {"n": 600, "mae": 0.05, "mae_persistence": 0.04, "mae_ratio": 1.25},
}
METRICS = {
    "run": {"name": "t", "rebalance": "monthly"},
    "horizons": {"5": BLOCK, "20": {**BLOCK, "capacity_aum": None}},
    "portfolio": {
        "trials": 7,
        "deflated_sharpe": 0.41,
        "probabilistic_sharpe": 0.9,
        "sharpe_expected_max": 0.8,
        "overfitting_probability": None,
    },
    "baseline_training": {"lightgbm": {"importances": {"5": {"beta_252": 0.2, "adv_20": 0.8}}}},
    "redundancy": {"momentum_1m": {"5": 0.1, "20": 0.2}, "beta_252": {"5": -0.6, "20": None}},
    "decay": [
        {"fold": "2019", "horizon": 5, "n_dates": 12, "first": 0.2, "last": 0.0,
         "difference": -0.2, "noise": 0.1, "flags": ["RAPID"]},
        {"fold": "2020", "horizon": 5, "n_dates": 12, "first": 0.0, "last": 0.1,
         "difference": 0.1, "noise": 0.1, "flags": []},
    ],
    "starts": [
        {"start": f"20{y}-01-31", "horizon": h, "rank_ic_mean": 0.05, "ci95": [0.0, 0.1]}
        for y in (18, 19) for h in (5, 20)
    ],
}  # fmt: skip


@pytest.fixture
def data(rules) -> ReportData:
    return ReportData(
        metrics=METRICS, gates={"gates": []}, manifest={}, rules=rules,
        config={"costs": {"round_trip_bps": 10}},
    )  # fmt: skip


def test_tables_say_what_the_metrics_hold(data):
    rows = {row.key: row for row in tables.signal_rows(data)}
    assert rows["neutral_rank_ic"].label == "RankIC, free of momentum_12m and beta_252"
    assert rows["neutral_rank_ic"].cells[0].interval == "[-0.010, 0.070]"
    assert [cell.text for cell in rows["capacity_aum"].cells] == ["250 million", "n/a"]
    assert rows["capacity_aum"].cells[1].reason == "no size brings it to 0"
    trials = tables.trial_rows(data)
    assert trials[0].label == "Deflated Sharpe, at least 7 trials"
    assert trials[-1].cells[0].reason == "under ten trials"
    assert [row.key for row in tables.redundancy_rows(data)] == ["beta_252", "momentum_1m"]
    summary = {row.key: [cell.text for cell in row.cells] for row in tables.decay_summary(data)}
    assert summary["decay_rapid"] == ["1 of 2", "n/a"]
    assert summary["decay_beyond"] == ["1 of 2", "n/a"]
    assert [row[0] for row in tables.decay_rows(data)] == ["2020", "2019"]
    assert tables.cost_levels(data)[1].strong
    used = tables.importance_rows(data)
    assert [(row.key, row.cells[0].text, row.cells[1].text) for row in used] == [
        ("adv_20", "80%", "n/a"),
        ("beta_252", "20%", "n/a"),
    ]
    assert tables.start_rows(data)[0].label == "from 2018-01-31"
    assert "Ratio (below 1 beats it)" in {row.label for row in tables.forecast_rows(data)}


def test_the_page_and_the_text_show_them(data):
    page, text = render_html(data), render_markdown(data)
    for shown in (page, text):
        assert "Deflated Sharpe, at least 7 trials" in shown
        assert "250 million" in shown
    charts = draw_charts(data)
    for name in ("cost_curve", "capacity", "starts", "decay"):
        assert imread(io.BytesIO(charts[name].png(TITLES[name])))[..., :3].std() > 0.02
        assert f'id="chart-{name}"' in page


def test_the_cost_curve_meets_zero_at_the_break_even(data):
    (axes,) = draw_charts(data)["cost_curve"].figure.axes
    lines = [line.get_xydata() for line in axes.lines]
    (x0, y0), (x1, y1) = lines[0]
    assert lines[1].tolist() == [[90.0, 0.0]]
    assert y0 + (y1 - y0) * (90.0 - x0) / (x1 - x0) == pytest.approx(0.0, abs=1e-9)


def test_nothing_is_shown_of_what_is_not_there(data):
    empty = replace(data, metrics={"run": {}, "horizons": {"5": {"n_dates": 0}}})
    for make in (
        tables.signal_rows, tables.redundancy_rows, tables.forecast_rows, tables.decay_summary,
        tables.decay_rows, tables.cost_levels, tables.start_rows, tables.trial_rows, tables.importance_rows,
    ):  # fmt: skip
        assert make(empty) == []
    assert not {"cost_curve", "capacity", "starts", "decay"} & set(draw_charts(empty))


@pytest.mark.parametrize(
    ("value", "text"), [(1.25e9, "1.25 billion"), (5e5, "500 thousand"), (0, "0"), (None, "n/a")]
)
def test_money(value, text):
    assert tables.money(value) == text
