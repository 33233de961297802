from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import polars as pl
import pytest

from engine.data import load_market
from engine.data.__main__ import main
from engine.data.membership import NOT_A_MEMBER, only_members
from engine.data.source import MEMBERS
from engine.decisions.scores_file import given_scores
from engine.scoring.plan import plan_windows
from engine.scoring.price_array import PriceArray

SPANS = [
    ("AAA", date(2020, 1, 2), None),
    ("BBB", date(2020, 3, 31), date(2020, 6, 30)),
    ("BBB", date(2020, 9, 30), None),
]
ASOFS = [
    date(2020, month, day) for month, day in ((3, 30), (3, 31), (6, 30), (7, 1), (9, 30), (11, 30))
]
EXPECTED = {"AAA": ASOFS, "BBB": [ASOFS[1], ASOFS[2], ASOFS[4], ASOFS[5]]}


def members(spans=SPANS) -> pl.DataFrame:
    return pl.DataFrame(spans, schema=MEMBERS, orient="row")


def by_ticker(frame: pl.DataFrame) -> dict[str, list[date]]:
    return {
        str(ticker): sorted(part["asof"].to_list())
        for (ticker,), part in frame.partition_by("ticker", as_dict=True).items()
    }


@pytest.fixture
def windows(bars, calendar) -> pl.DataFrame:
    plan = plan_windows(PriceArray.from_bars(bars), calendar, ASOFS, lookback=20, steps=5, seed=0)
    return plan.windows


def test_a_ticker_is_a_candidate_only_while_a_member(windows):
    assert by_ticker(only_members(windows, members())) == EXPECTED
    assert only_members(windows, None).equals(windows)
    assert only_members(windows, members()).columns == windows.columns


def test_what_membership_becomes_later_changes_nothing_before(windows):
    cut = ASOFS[2]
    early = pl.col("asof") <= cut
    before = only_members(windows, members()).filter(early)
    left_later = [
        ("AAA", date(2020, 1, 2), date(2020, 7, 1)),
        *SPANS[1:2],
        ("CCC", date(2020, 7, 1), None),
    ]
    assert only_members(windows, members(left_later)).filter(early).equals(before)


@pytest.fixture
def market(tmp_path, bars, request_of):
    store, file, spans = tmp_path / "s.duckdb", tmp_path / "bars.parquet", tmp_path / "members.csv"
    bars.write_parquet(file)
    members().write_csv(spans)
    assert main(["import", str(file), "--data.store", str(store)]) == 0
    assert main(["import", str(spans), "--as", "universe", "--data.store", str(store)]) == 0

    def load(**given):
        return load_market(request_of("duckdb", store=store, **given))

    return load


def test_the_market_of_a_store_carries_its_members(market, bars):
    loaded = market()
    assert loaded.members.equals(members())
    # Bars from before a membership stay: a window needs its history.
    assert loaded.bars.height == bars.height
    assert market(universe=["BBB", "CCC"]).members is None
    assert market(universe=["AAA", "BBB", "CCC"]).data_hash != loaded.data_hash


def test_given_scores_of_strangers_are_dropped_and_counted(market, tmp_path):
    scores = pl.DataFrame({"asof": ASOFS}).join(
        pl.DataFrame({"ticker": ["AAA", "BBB", "CCC"]}), how="cross"
    )
    path = tmp_path / "scores.parquet"
    scores.with_columns(horizon=pl.lit(5), score=pl.lit(0.1)).write_parquet(path)
    span = SimpleNamespace(start=None, end=None)
    scored = given_scores(path, market(), span, horizons=[5])
    assert by_ticker(scored.scores) == EXPECTED
    assert scored.dropped == {NOT_A_MEMBER: 2 + 6}
