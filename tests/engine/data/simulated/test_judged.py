"""A market whose truth is known, through the engine's own labels and judgement."""

from __future__ import annotations

from datetime import date

import pytest

from backtest.statistics.ic import information_coefficient
from engine.config.load import load_settings
from engine.data.market import load_market
from engine.data.simulated import INDEX, Simulation
from engine.decisions.scores_file import read_scores
from engine.features.panel import build_panel

FLAGS = {
    "data.source": "simulated",
    "data.simulated.n_tickers": "120",
    "data.simulated.end": "2013-12-31",
    "data.simulated.rank_ic": "0.2",
    "data.benchmark": INDEX,
}


def test_the_judge_finds_the_rank_ic_that_was_realised(calendar, tmp_path):
    """The signal judged as scores has, on every date, the RankIC that the simulation knows of,
    with endings, halts, splits and dividends in between."""
    data = load_settings(FLAGS, environment={}).data
    truth = Simulation(data.simulated, calendar).run()
    asofs = calendar.rebalances(date(2010, 3, 1), date(2013, 11, 30), "monthly")
    scores = truth.scores([5, 20])
    path = tmp_path / "truth.parquet"
    scores.filter(scores["asof"].is_in(asofs)).write_parquet(path)
    panel = build_panel(
        read_scores(path, [5, 20], calendar),
        load_market(data),
        feature_names=[],
        horizons=[5, 20],
        trained_until=None,
    )
    judged = information_coefficient(panel, min_cross_section=10)
    for horizon in (5, 20):
        known = dict(truth.rank_ic(horizon).select("asof", "rank_ic").iter_rows())
        found = judged.filter(judged["horizon"] == horizon)
        assert found.height == len(asofs)
        for asof, rank_ic in found.select("asof", "rank_ic").iter_rows():
            assert rank_ic == pytest.approx(known[asof], abs=1e-9)
    mean = judged.filter(judged["horizon"] == 20)["rank_ic"].mean()
    assert 0.15 < mean < 0.25  # type: ignore[operator]
