"""From finished statistics to the scores table; every window accounted for."""

from __future__ import annotations

from datetime import date

import pytest

from engine.forecasters.rules import RuleSpec
from engine.scoring.plan import cut_shards, plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.scores import SCORES_SCHEMA, assemble_scores

ASOFS = [date(2020, 3, 31), date(2020, 6, 30)]


@pytest.fixture
def finished(bars, calendar):
    prices = PriceArray.from_bars(bars)
    plan = plan_windows(prices, calendar, ASOFS, lookback=70, steps=10, seed=0)
    (shard,) = cut_shards(plan, plan.planned, 100)
    frame = RuleSpec("momentum").build(1).score(shard.panel(prices, 70), shard.asof(prices))
    keyed = plan.planned.select("asof", "ticker", "hash").join(frame, on=["asof", "ticker"])
    return plan, keyed


def test_one_row_a_window_and_horizon(finished):
    plan, frame = finished
    scores = assemble_scores(plan, frame, {}, horizons=[2, 10], form="terminal")
    assert dict(scores.schema) == SCORES_SCHEMA
    assert scores.height == 2 * 3 * 2
    assert scores.equals(scores.sort("asof", "ticker", "horizon"))
    skipped = scores.filter(asof=date(2020, 3, 31))  # 62 sessions: shorter than 70
    assert skipped["status"].unique().to_list() == ["skipped"]
    assert skipped["reason"].unique().to_list() == ["history shorter than lookback"]
    assert skipped["score"].null_count() == 6
    assert scores.filter(asof=date(2020, 6, 30))["status"].unique().to_list() == ["ok"]


def test_a_horizon_is_read_from_its_step(finished):
    plan, frame = finished
    for form in ("terminal", "path_mean"):
        scores = assemble_scores(plan, frame, {}, horizons=[4], form=form).filter(status="ok")
        expected = frame.filter(step=4).sort("asof", "ticker")[f"{form}_score"]
        assert scores["score"].to_list() == expected.to_list()


def test_a_window_given_up_keeps_its_reason(finished):
    plan, frame = finished
    failed = {("2020-06-30", "BBB"): "ValueError: poison"}
    rest = frame.filter(ticker="AAA").vstack(frame.filter(ticker="CCC"))
    scores = assemble_scores(plan, rest, failed, horizons=[10], form="terminal")
    row = scores.filter(asof=date(2020, 6, 30), ticker="BBB").row(0, named=True)
    assert (row["status"], row["reason"], row["score"]) == ("failed", "ValueError: poison", None)


def test_a_lost_window_is_an_error_never_a_gap(finished):
    plan, frame = finished
    with pytest.raises(RuntimeError, match=r"1 planned windows have no score.*BBB at 2020-06-30"):
        assemble_scores(
            plan, frame.filter(frame["ticker"] != "BBB"), {}, horizons=[10], form="terminal"
        )


def test_a_score_of_another_window_is_not_used(finished):
    plan, frame = finished
    stale = frame.with_columns(hash=frame["hash"] + "x")
    with pytest.raises(RuntimeError, match="no score and no reason"):
        assemble_scores(plan, stale, {}, horizons=[10], form="terminal")
