"""The main job as a user runs it: command in, run folder and exit code out."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from main_job import TICKERS, read

from engine.scoring.cluster import ray_cluster

COMPLETE = {
    "config.yaml",
    "manifest.json",
    "scores.parquet",
    "panel.parquet",
    "weights.parquet",
    "metrics.json",
    "gates.json",
    "report.md",
    "report.html",
    "run.log",
}


@pytest.fixture(scope="module", autouse=True)
def ray():
    with ray_cluster(None, cpus=2, object_bytes=0):
        yield


def test_a_run_leaves_a_complete_folder(backtest):
    code, folder, said = backtest()
    assert code == 0
    assert {path.name for path in folder.iterdir()} >= COMPLETE
    assert list(folder.glob("shards/*.parquet"))
    assert list(folder.glob("figures/*.png"))
    assert not list(folder.rglob("*.part"))
    metrics, gates, manifest = (
        read(folder, name) for name in ("metrics.json", "gates.json", "manifest.json")
    )
    assert metrics["version"] == gates["version"] == 1
    assert set(metrics["horizons"]) == {"5", "10", "20"}
    assert [gate["name"] for gate in gates["gates"]] == ["factor", "ml", "practical"]
    assert {gate["verdict"] for gate in gates["gates"]} <= {"PASS", "FAIL", "INCONCLUSIVE"}
    assert metrics["horizons"]["20"]["n_names_median"] == 14  # IDX is no candidate
    assert manifest["windows_planned"] == manifest["windows_computed"] == 14 * 15
    assert manifest["seconds"]["scores"] > 0
    assert "PASS" in said or "FAIL" in said or "INCONCLUSIVE" in said
    assert str(folder / "report.html") in said


def test_the_tables_keep_their_contract(backtest):
    _, folder, _ = backtest()
    scores = pl.read_parquet(folder / "scores.parquet")
    assert scores.columns == [
        "asof", "ticker", "horizon", "score", "score_std", "p_up", "q05", "q50", "q95",
        "last_close", "n_paths", "status", "reason",
    ]  # fmt: skip
    assert scores["horizon"].dtype == pl.Int32
    assert not scores.select("asof", "ticker", "horizon").is_duplicated().any()
    assert scores.equals(scores.sort("asof", "ticker", "horizon"))
    panel = pl.read_parquet(folder / "panel.parquet")
    assert panel.height == scores.height
    assert {"momentum_12m", "volatility_60", "label", "fold", "volatility_regime"} <= set(
        panel.columns
    )
    weights = pl.read_parquet(folder / "weights.parquet")
    assert weights.columns == ["asof", "ticker", "weight"]
    gross = weights.group_by("asof").agg(pl.col("weight").abs().sum(), net=pl.col("weight").sum())
    assert gross["weight"].to_list() == pytest.approx([1.0] * gross.height)
    assert gross["net"].to_list() == pytest.approx([0.0] * gross.height, abs=1e-12)


def test_running_again_scores_nothing_and_changes_nothing(backtest):
    _, folder, _ = backtest()
    before = {name: (folder / name).read_bytes() for name in ("scores.parquet", "metrics.json")}
    code, _, _ = backtest()
    assert code == 0
    manifest = read(folder, "manifest.json")
    assert (manifest["shards_computed"], manifest["windows_computed"]) == (0, 0)
    assert manifest["shards_reused"] > 0
    assert before == {name: (folder / name).read_bytes() for name in before}


def test_portfolio_costs_and_gates_never_rescore(backtest):
    backtest()
    _, folder, _ = backtest(
        "--strategy.quantile", "0.3", "--costs.round_trip_bps", "99", "--evaluation.top_k", "3"
    )
    assert read(folder, "manifest.json")["windows_computed"] == 0


def test_future_rows_as_noise_change_nothing_before_them(backtest, bars, tmp_path):
    """No score, feature or weight at or before a date may know what comes after it."""
    cut = date(2018, 8, 31)
    rng = np.random.default_rng(0)
    noise = bars.filter(pl.col("date") > cut).with_columns(
        (pl.col(column) * rng.uniform(0.2, 5)).alias(column)
        for column in ("open", "high", "low", "close", "volume", "amount")
    )
    shuffled = noise.with_columns(pl.col("date").shuffle(seed=1).over("ticker"))
    changed = pl.concat([bars.filter(pl.col("date") <= cut), shuffled]).sort("ticker", "date")
    assert changed.height == bars.height
    assert not changed.equals(bars)
    path = tmp_path / "noise.parquet"
    changed.write_parquet(path)
    argv = ("--model.name", "kronos-nano", "--scoring.horizons", "5,10", "--scoring.lookback", "64",
            "--evaluation.start", "2018-07-01", "--evaluation.end", "2018-10-31",
            "--evaluation.embargo_sessions", "0", "--strategy.grid", "{quantile: [0.1, 0.3]}",
            "--selection.fold", "month", "--selection.min_sessions", "5",
            "--entry.strategies", "simple,maxdiff", "--entry.min_trades", "5")  # fmt: skip
    _, real, _ = backtest(*argv, name="real")
    _, fake, _ = backtest(*argv, data=path, name="fake")
    known = pl.col("asof") <= cut
    for table in ("scores", "weights", "levels"):
        one, two = (pl.read_parquet(f / f"{table}.parquet") for f in (real, fake))
        assert one.filter(known).height > 0
        assert one.filter(known).equals(two.filter(known))
        assert not one.equals(two)
    # The trade of a decision at the cut is settled after it.
    settled = pl.col("asof") < cut
    one, two = (pl.read_parquet(f / "entry_trades.parquet").filter(settled) for f in (real, fake))
    assert one.equals(two)
    assert "simple" in set(one["strategy"])  # MaxDiff has no past there yet
    choices = read(real, "metrics.json")["selection"]["choices"]
    assert [row["sharpe"] is None for row in choices] == [True, False, False, False]
    assert choices[:2] == read(fake, "metrics.json")["selection"]["choices"][:2]
    one, two = (pl.read_parquet(f / "panel.parquet").filter(known) for f in (real, fake))
    told = ["asof", "ticker", "horizon", "volatility_regime", "trend_regime", "fold"]
    told += [name for name in one.columns if name.startswith(("momentum", "volatility_"))]
    told = list(dict.fromkeys(told))
    assert one.select(told).equals(two.select(told))


def test_the_number_of_actors_changes_no_byte(backtest):
    argv = ("--model.name", "kronos-nano", "--scoring.lookback", "64", "--scoring.horizons", "5",
            "--scoring.sampling.temperature", "1", "--scoring.sampling.paths", "3",
            "--evaluation.start", "2018-11-01")  # fmt: skip
    one, two = (
        backtest(*argv, "--scoring.actors", actors, name=f"actors{actors}")[1]
        for actors in ("1", "2")
    )
    assert (one / "scores.parquet").read_bytes() == (two / "scores.parquet").read_bytes()
    assert pl.read_parquet(one / "scores.parquet")["score_std"].min() > 0


def test_scores_of_anybody_are_judged(backtest, bars, tmp_path):
    _, mine, _ = backtest("--evaluation.start", "2018-01-01")
    given = pl.read_parquet(mine / "scores.parquet").select("asof", "ticker", "horizon", "score")
    path = tmp_path / "theirs.csv"
    given.write_csv(path)
    code, theirs, _ = backtest("--model.name", f"scores:{path}", name="theirs")
    assert code == 0
    a, b = read(mine, "metrics.json"), read(theirs, "metrics.json")
    assert b["horizons"]["20"]["rank_ic_mean"] == pytest.approx(a["horizons"]["20"]["rank_ic_mean"])
    for gate in read(theirs, "gates.json")["gates"]:
        assert gate["verdict"] == "INCONCLUSIVE"
        assert gate["reasons"][0].startswith("training period unknown")


def test_a_run_that_fails_leaves_the_folder_as_it_was(backtest, monkeypatch):
    _, folder, _ = backtest()
    before = {path.name: path.read_bytes() for path in folder.glob("*.*") if path.suffix != ".log"}

    def full(*_args, **_settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.backtest.judging.evaluate_gates", full)
    code, _, said = backtest("--model.name", "reversal")
    assert code == 1
    assert "No space left on device" in said
    assert "Traceback" not in said
    assert "Traceback" in (folder / "run.log").read_text()
    assert before == {name: (folder / name).read_bytes() for name in before}


def test_a_card_can_be_added_to_but_not_taken_from(backtest):
    argv = ("--model.name", "kronos-nano", "--scoring.lookback", "64", "--scoring.horizons", "5",
            "--evaluation.start", "2019-01-01")  # fmt: skip
    _, folder, said = backtest(*argv, "--model.trained_until", "2001-01-01")
    assert read(folder, "metrics.json")["run"]["trained_until"] == "2010-06-30"
    assert "2001-01-01 is before what the model's card says" in said
    _, folder, _ = backtest(*argv, "--model.trained_until", "2018-12-31")
    assert read(folder, "metrics.json")["run"]["trained_until"] == "2018-12-31"


def test_the_training_period_is_kept_apart(backtest):
    _, folder, _ = backtest("--model.trained_until", "2018-06-30")
    metrics = read(folder, "metrics.json")
    assert metrics["run"]["trained_until"] == "2018-06-30"
    assert metrics["in_training"]["last_asof"] == "2018-06-29"
    assert metrics["horizons"]["5"]["n_dates"] == 8  # July to February; March is not mature
    assert metrics["in_training"]["horizons"]["5"]["n_dates"] == 6


def test_a_grid_is_walked_counted_and_what_was_traded_is_attributed(backtest):
    grid = "{quantile: [0.1, 0.2, 0.3], buffer: [0.0, 0.5]}"
    _, folder, _ = backtest("--strategy.grid", grid, "--selection.min_sessions", "60",
                            "--selection.fold", "quarter", "--simulation.lot_size", "1")  # fmt: skip
    metrics = read(folder, "metrics.json")
    assert metrics["selection"]["n_points"] == 6
    assert metrics["portfolio"]["trials"] == 7  # the grid's points and the walk through them
    assert [row["fold"] for row in metrics["selection"]["choices"]][:2] == [
        "2018-01-31", "2018-04-30",
    ]  # fmt: skip
    found = metrics["attribution"]
    trades = pl.read_parquet(folder / "trades.parquet")
    assert (trades["shares"] % 1).abs().max() < 1e-9
    assert sum(row["cost"] for row in found["costs"]) == pytest.approx(
        sum(row["cost"] + row["borrow"] for row in found["legs"])
    )
    profit = sum(row["profit"] for row in found["legs"])
    for kind in ("volatility", "trend"):
        parts = [row["profit"] for row in found["regimes"] if row["kind"] == kind]
        assert sum(parts) == pytest.approx(profit)
    assert (folder / "figures" / "attribution.png").exists()
    _, folder, _ = backtest(name="plain")
    assert "selection" not in read(folder, "metrics.json")


def test_labels_that_are_not_mature_are_counted_not_judged(backtest):
    _, folder, _ = backtest()
    metrics = read(folder, "metrics.json")
    assert metrics["horizons"]["20"]["n_dates"] == 14
    assert metrics["drops"]["label not mature at the last bar"] == 14 * 3


def test_constant_scores_have_no_rank_ic_and_trade_nothing(backtest):
    code, folder, _ = backtest("--model.name", "persistence")
    metrics = read(folder, "metrics.json")
    assert code == 0
    assert metrics["horizons"]["20"]["rank_ic_mean"] is None
    assert metrics["horizons"]["20"]["n_dates_constant"] == 14
    assert pl.read_parquet(folder / "weights.parquet")["weight"].abs().sum() == 0


def test_too_short_histories_are_counted_and_the_report_says_so(backtest):
    code, folder, _ = backtest("--scoring.lookback", "700", "--evaluation.start", "2018-01-01")
    assert code == 0
    drops = read(folder, "metrics.json")["drops"]
    assert drops["window skipped: history shorter than lookback"] == 14 * 15
    assert "history shorter than lookback" in (folder / "report.html").read_text()


def test_bad_rows_are_quarantined_and_counted(backtest, bars, tmp_path):
    broken = bars.with_row_index().with_columns(
        high=pl.when(pl.col("index") == 7).then(pl.col("low") * 0.5).otherwise("high"),
        close=pl.when(pl.col("index") == 900).then(float("nan")).otherwise("close"),
    )
    path = tmp_path / "broken.parquet"
    broken.drop("index").write_parquet(path)
    code, folder, _ = backtest(data=path)
    assert code == 0
    drops = read(folder, "metrics.json")["drops"]
    assert sum(n for reason, n in drops.items() if reason.startswith("quarantined")) == 2


def test_require_gates_is_for_automation(backtest):
    assert backtest("--require-gates")[0] == 4


def test_a_preset_limits_dates_and_tickers_and_checks_the_scores(backtest):
    code, folder, said = backtest("--config", "micro.yaml", "--data.max_tickers", "6")
    assert code == 0
    scores = pl.read_parquet(folder / "scores.parquet")
    assert scores["ticker"].unique().sort().to_list() == TICKERS[:6]
    # The bars end on 2019-03-29: a 20-session label of February's last session is mature there.
    assert scores["asof"].unique().sort().to_list() == [
        date(2018, 12, 31), date(2019, 1, 31), date(2019, 2, 28),
    ]  # fmt: skip
    sanity = read(folder, "metrics.json")["sanity"]
    assert sanity["passed"]
    assert sanity["horizons"]["20"]["n_scores"] == 18
    assert sanity["horizons"]["20"]["highest"] == scores["score"].max()
    assert "scores, horizon 20" in said


def test_scores_that_cannot_be_forecasts_are_warned_of(backtest):
    code, folder, said = backtest("--model.name", "persistence", "--evaluation.max_dates", "3")
    assert code == 0
    assert not read(folder, "metrics.json")["sanity"]["passed"]
    assert "scores look wrong" in said
    assert "dispersion: 3 of 3 dates give every ticker one score" in said
