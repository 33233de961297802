"""The audit of what lies beside the bars: actions, memberships, and the trained baseline."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from engine.audit import audit_lookahead, stages_of
from engine.config import Settings, load_settings
from engine.data.source import ACTIONS, MEMBERS
from engine.data.store.writer import Delivery, StoreWriter

TICKERS = [f"T{n:02d}" for n in range(12)]
FIRST, LAST = date(2016, 1, 4), date(2018, 12, 31)
SPLIT = date(2018, 10, 1)


@pytest.fixture(scope="module")
def settings(make_bars, tmp_path_factory) -> Settings:
    """A store: T03 splits and T04 pays, which the prices do not hold; T10 joins, T11 leaves."""
    bars = make_bars(dict.fromkeys([*TICKERS, "IDX"], (FIRST, LAST)), seed=7)
    early = (pl.col("ticker") == "T03") & (pl.col("date") < SPLIT)
    bars = bars.with_columns(
        *(
            pl.when(early).then(pl.col(name) * 2).otherwise(name).alias(name)
            for name in ("open", "high", "low", "close")
        ),
        source=pl.lit("test"),
    )
    actions = [
        ("T03", SPLIT, "split", 2.0, False),
        ("T04", date(2017, 5, 1), "dividend", 1.5, False),
        ("T04", date(2018, 11, 1), "dividend", 2.5, False),
    ]
    members = [(name, FIRST, None) for name in TICKERS[:10]]
    members += [("T10", date(2018, 3, 1), None), ("T11", FIRST, date(2018, 11, 15))]
    path = tmp_path_factory.mktemp("audit") / "store.duckdb"
    with StoreWriter.open(path) as writer:
        writer.add(
            Delivery(
                "test",
                "test",
                "h",
                batches=[bars],
                actions=pl.DataFrame(actions, schema=ACTIONS, orient="row"),
                members=pl.DataFrame(members, schema=MEMBERS, orient="row"),
            )
        )
    return load_settings(
        {
            "data.source": "duckdb",
            "data.store": str(path),
            "data.benchmark": "IDX",
            "model.name": "momentum",
            "scoring.lookback": "40",
            "scoring.horizons": "[5]",
            "strategy.quantile": "0.2",
            "evaluation.end": "2018-09-30",
            "baselines.lightgbm.min_train_rows": "500",
            "baselines.lightgbm.min_data_in_leaf": "20",
            "baselines.lightgbm.num_iterations": "10",
        },
        environment={},
    )


def test_a_store_with_actions_memberships_and_a_baseline_is_clean(settings):
    fitted = []
    stages = stages_of(settings)

    def baseline(market, asofs):
        fitted.append(stages.baseline(market, asofs))
        return fitted[-1]

    found = audit_lookahead(settings, stages=stages.replace(baseline=baseline), dates=2)
    assert found.findings == ()
    assert all(frame.height for frame in fitted), "nothing was trained, nothing was audited"
    assert {"T11"} <= set(fitted[0]["ticker"])


def test_what_an_action_or_a_membership_says_too_early_is_found(settings):
    stages = stages_of(settings)

    def in_the_money_of_the_last_bar(scores, market):
        decided = stages.decide(scores, market)
        last = pl.col("adj_factor").last().over("ticker")
        price = market.bars.select(
            "ticker", asof="date", price=pl.col("close") * pl.col("adj_factor") / last
        )
        panel = decided.panel.join(price, on=["asof", "ticker"], how="left")
        return replace(decided, panel=panel)

    def members_of_today(market):
        staying = market.members.filter(pl.col("to").is_null())["ticker"]
        return replace(market, bars=market.bars.filter(pl.col("ticker").is_in(staying.implode())))

    leaks = {
        ("panel", "price", "T03"): stages.replace(decide=in_the_money_of_the_last_bar),
        ("features", "(row)", "T11"): stages.replace(market=members_of_today),
    }
    for leak, planted in leaks.items():
        found = audit_lookahead(settings, stages=planted, dates=1).findings
        cut = [(one.table, one.column, one.ticker) for one in found if one.check == "truncated"]
        assert leak in cut, cut


def test_a_baseline_that_learns_from_what_is_not_known_yet_is_found(settings):
    stages = stages_of(settings)

    def peeking(market, asofs):
        closes = market.adjusted().sort("ticker", "date")
        ahead = (pl.col("close").shift(-5) / pl.col("close") - 1).over("ticker")
        known = closes.select("ticker", asof="date", ahead=ahead)
        predicted = stages.baseline(market, asofs).join(known, on=["asof", "ticker"], how="left")
        moved = pl.col("lightgbm") + pl.col("ahead").fill_null(0.0)
        return predicted.with_columns(moved).drop("ahead")

    found = audit_lookahead(settings, stages=stages.replace(baseline=peeking), dates=1).findings
    assert {("baseline", "lightgbm")} == {(one.table, one.column) for one in found}
    assert {one.check for one in found} == {"truncated", "noised"}
