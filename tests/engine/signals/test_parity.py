"""A signal is what the backtest decides, made without what comes later."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from engine.decisions.weights import SCORE_COLUMNS
from engine.signals.compute import compute_signals
from strategies import build_strategy

FEATURES = ["volatility_60", "momentum_3m", "beta_252"]
WITH_MEMORY = [
    ("top_k_dropout", {"k": 4, "drop": 1}),
    ("long_short_quantile", {"quantile": 0.2, "buffer": 0.5}),
    ("long_top_k", {"k": 3, "buffer": 1.0}),
    ("buy_and_hold", {}),
]


@pytest.fixture(scope="module")
def rebalances(backtest) -> list[date]:
    dates = pl.read_parquet(backtest / "weights.parquet")["asof"].unique().sort().to_list()
    assert len(dates) > 30
    return dates


def signals_at(asof, bars, configured, folder, **flags):
    path = folder / f"{asof}.parquet"
    bars.write_parquet(path)
    return compute_signals(configured(folder, path, **flags), asof)


def test_twenty_dates_on_cut_data_equal_the_backtest(
    backtest, rebalances, traded, configured, tmp_path
):
    weights = pl.read_parquet(backtest / "weights.parquet")
    for asof in rebalances[3:43:2][:20]:
        cut = traded.filter(pl.col("date") <= asof)
        found = signals_at(asof, cut, configured, tmp_path)
        expected = weights.filter(pl.col("asof") == asof)
        assert expected.height >= 9
        assert_frame_equal(found.weights, expected, check_exact=True)


def test_scores_and_quantiles_are_the_backtests(backtest, rebalances, traded, configured, tmp_path):
    asof = rebalances[20]
    found = signals_at(asof, traded, configured, tmp_path)
    at_asof = pl.read_parquet(backtest / "scores.parquet").filter(
        pl.col("asof") == asof, pl.col("horizon") == 10, pl.col("status") == "ok"
    )
    ranked = found.table.drop_nulls("rank").sort("ticker")
    assert found.horizon == 10
    columns = ["ticker", "score", "p_up", "q05", "q50", "q95"]
    assert_frame_equal(ranked.select(columns), at_asof.select(columns), check_exact=True)


@pytest.mark.parametrize(("name", "parameters"), WITH_MEMORY)
def test_strategies_with_a_memory_are_replayed(
    name, parameters, backtest, rebalances, traded, noised, configured, tmp_path
):
    panel = pl.read_parquet(backtest / "panel.parquet")
    strategy = build_strategy(name, **parameters)
    seen = panel.filter(pl.col("status") == "ok", pl.col("asof").is_in(rebalances))
    weights = strategy.weights(seen.select(*SCORE_COLUMNS, *FEATURES))
    flags = {f"strategy__{key}": str(value) for key, value in parameters.items()}
    for asof in rebalances[5::15]:
        expected = weights.filter(pl.col("asof") == asof)
        found = signals_at(
            asof,
            noised(traded, asof),
            configured,
            tmp_path,
            strategy__name=name,
            strategy__since="2020-03-02",
            **flags,
        )
        assert found.replayed == rebalances.index(asof) + 1
        assert found.rebalance == (expected.height > 0)
        before = weights.filter(pl.col("asof") < asof)["asof"].max()
        assert found.change_from == before
        assert_frame_equal(found.weights, expected, check_exact=True)


def test_the_future_replaced_by_noise_changes_nothing(
    rebalances, traded, noised, configured, tmp_path
):
    for asof in rebalances[8::12]:
        whole = signals_at(asof, traded, configured, tmp_path)
        noise = signals_at(asof, noised(traded, asof), configured, tmp_path)
        assert_frame_equal(noise.table, whole.table, check_exact=True)
        assert noise.data_hash == whole.data_hash
        assert noise.fingerprint == whole.fingerprint


def test_a_market_given_by_the_caller_is_cut_off(rebalances, traded, configured, tmp_path):
    from engine.data.market import load_market

    asof = rebalances[25]
    alone = signals_at(asof, traded, configured, tmp_path)
    settings = configured(tmp_path, tmp_path / f"{asof}.parquet")
    given = compute_signals(settings, asof, market=load_market(settings.data))
    assert_frame_equal(given.table, alone.table, check_exact=True)
    assert given.data_hash == alone.data_hash
    assert given.closes["date"].max() == asof


def test_any_session_is_a_rebalance(rebalances, traded, configured, tmp_path):
    between = date(2020, 9, 16)
    assert between not in rebalances
    found = signals_at(between, traded, configured, tmp_path)
    assert found.rebalance
    assert found.weights["asof"].unique().to_list() == [between]
