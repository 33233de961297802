"""The main job as a user runs it: command in, run folder and exit code out."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from engine.backtest import main
from engine.scoring.cluster import ray_cluster

TICKERS = [f"T{n:02d}" for n in range(14)]
SPAN = (date(2017, 1, 3), date(2019, 3, 29))
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


@pytest.fixture(scope="module")
def bars(make_bars) -> pl.DataFrame:
    return make_bars({**dict.fromkeys(TICKERS, SPAN), "IDX": SPAN}, seed=3)


@pytest.fixture(scope="module")
def prices(bars, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bars") / "prices.parquet"
    bars.write_parquet(path)
    return path


@pytest.fixture
def backtest(prices, tmp_path, capsys):
    def run(*argv: str, data: Path = prices, name: str = "run") -> tuple[int, Path, str]:
        code = main(
            [
                *("--data.source", "parquet", "--data.path", str(data)),
                *("--data.benchmark", "IDX", "--model.name", "momentum"),
                *("--run.dir", str(tmp_path / "runs"), "--run.name", name),
                *("--evaluation.start", "2018-01-01"),
                *argv,
            ]
        )
        said = capsys.readouterr()
        return code, tmp_path / "runs" / name, said.out + said.err

    return run


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())


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


@pytest.fixture
def judge_scores(prices, tmp_path, capsys):
    """Judge a scores frame without bounding the evaluation, as the README shows."""

    def run(scores: pl.DataFrame, *argv: str) -> tuple[int, Path, str]:
        path = tmp_path / "given.parquet"
        scores.write_parquet(path)
        code = main(
            [
                *("--data.source", "parquet", "--data.path", str(prices)),
                *("--data.benchmark", "IDX", "--model.name", f"scores:{path}"),
                *("--run.dir", str(tmp_path / "runs"), "--run.name", "given"),
                *("--scoring.horizons", "5", "--model.trained_until", "2016-12-31", *argv),
            ]
        )
        said = capsys.readouterr()
        return code, tmp_path / "runs" / "given", said.out + said.err

    return run


def random_scores(days: list[date], seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [(day, ticker, 5, float(rng.normal())) for day in days for ticker in TICKERS]
    return pl.DataFrame(rows, schema=["asof", "ticker", "horizon", "score"], orient="row")


def test_a_portfolio_ends_with_its_last_decision(judge_scores, calendar):
    days = calendar.rebalances(date(2018, 1, 1), date(2018, 6, 30), "monthly")
    code, folder, _ = judge_scores(random_scores(days))
    portfolio = read(folder, "metrics.json")["portfolio"]
    assert code == 0
    assert (portfolio["first_date"], portfolio["last_date"]) == ("2018-02-01", "2018-07-31")


def test_daily_scores_are_judged_daily_and_traded_at_rebalances(judge_scores, calendar):
    days = calendar.sessions(date(2018, 1, 1), date(2018, 6, 29))
    _, folder, _ = judge_scores(random_scores(days))
    metrics = read(folder, "metrics.json")
    assert metrics["horizons"]["5"]["n_dates"] == len(days)
    weights = pl.read_parquet(folder / "weights.parquet")
    ends = calendar.rebalances(date(2018, 1, 1), date(2018, 6, 29), "monthly")
    assert weights["asof"].unique().sort().to_list() == ends
    top = random_scores(days).sort("score", descending=True).group_by("asof").head(2)
    held = {day: set(part["ticker"]) for (day,), part in top.group_by("asof")}

    def churn(dates):
        return np.median([1 - len(held[a] & held[b]) / 2 for a, b in zip(dates, dates[1:])])  # noqa: B905, RUF007

    assert metrics["churn"]["rebalance_median"] == pytest.approx(churn(ends))
    assert metrics["churn"]["daily_median"] == pytest.approx(churn(days))


def test_sectors_enter_the_neutralised_rank_ic(judge_scores, calendar, tmp_path):
    path = tmp_path / "sectors.csv"
    lines = [f"{ticker},{'odd' if n % 2 else 'even'}" for n, ticker in enumerate(TICKERS[:-1])]
    path.write_text("\n".join(["ticker,sector", *lines]))
    days = calendar.rebalances(date(2018, 1, 1), date(2018, 6, 30), "monthly")
    code, folder, _ = judge_scores(random_scores(days), "--data.sectors", str(path))
    metrics = read(folder, "metrics.json")
    assert code == 0
    assert metrics["horizons"]["5"]["neutral_factors"] == ["momentum_12m", "beta_252", "sector"]
    report = (folder / "report.md").read_text().replace("\\", "")
    assert "free of momentum_12m, beta_252 and sector" in report
    assert [n for why, n in metrics["flags"].items() if "without a sector" in why] == [len(days)]
    path.write_text("ticker,sector\nT00,\n")
    code, _, said = judge_scores(random_scores(days), "--data.sectors", str(path))
    assert code == 2
    assert "row 1 (ticker T00): sector is empty" in " ".join(said.split())


def test_every_row_of_a_scores_file_is_accounted_for(judge_scores, calendar):
    days = calendar.rebalances(date(2018, 1, 1), date(2018, 12, 31), "monthly")
    scores = random_scores([*days, date(2025, 1, 31)]).with_row_index()
    row = pl.col("index")
    broken = scores.with_columns(
        score=pl.when(row == 3).then(None).when(row == 4).then(float("inf")).otherwise("score"),
        ticker=pl.when(row == 5).then(None).when(row == 6).then(pl.lit("XX")).otherwise("ticker"),
    ).drop("index")
    code, folder, _ = judge_scores(broken, "--evaluation.end", "2018-11-30")
    drops = read(folder, "metrics.json")["drops"]
    assert code == 0
    assert drops["score missing or not finite"] == 2
    assert drops["score without asof or ticker"] == 1
    assert drops["score of a ticker that the data lack"] == 1
    assert drops["score of a date outside the data"] == 14
    assert drops["score outside evaluation.start and evaluation.end"] == 14
    kept = pl.read_parquet(folder / "scores.parquet").height
    lost = sum(n for reason, n in drops.items() if reason.startswith("score "))
    assert kept + lost == broken.height


def test_scores_that_cannot_be_judged_are_refused_with_the_count(judge_scores):
    scores = random_scores([date(2018, 1, 31)]).with_columns(score=pl.lit(None, dtype=pl.Float64))
    code, _, said = judge_scores(scores)
    assert code == 2
    assert "14 × score missing or not finite" in said
    code, _, said = judge_scores(random_scores([date(2018, 1, 27)]))
    assert code == 2
    assert "T00 has a score at 2018-01-27, which is not a session of XNYS" in said


def test_a_run_that_fails_leaves_the_folder_as_it_was(backtest, monkeypatch):
    _, folder, _ = backtest()
    before = {path.name: path.read_bytes() for path in folder.glob("*.*") if path.suffix != ".log"}

    def full(*_args, **_settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.pipeline.evaluate_gates", full)
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


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--scoring.actor", "1"], r"unknown key 'scoring\.actor'.*'scoring\.actors'"),
        (["--data.path", "nowhere.parquet"], r"nowhere\.parquet"),
        (["--data.universe", "T01,T0X"], r"T0X"),
        (["--data.universe", "[]"], r"data\.universe"),
        (["--data.benchmark", "SPX"], r"data\.benchmark.*SPX"),
        (["--data.calendar", "XNYZ"], r"XNYZ"),
        (["--evaluation.start", "2030-01-01"], r"evaluation\.start 2030-01-01 is after the last bar"),
        (["--evaluation.start", "2010-01-01", "--evaluation.end", "2010-06-01"], r"evaluation\.end 2010-06-01 is before the first bar"),
        (["--features", "momentum_9m"], r"momentum_9m"),
        (["--strategy.name", "long_shrt"], r"long_shrt"),
        (["--strategy.quantile", "0.9"], r"strategy\.quantile"),
        (["--strategy.grid", "{quantile: [0.1, 0.9]}"], r"strategy\.quantile: 0\.9"),
        (["--strategy.grid", "{quantle: [0.1]}"], r"strategy\.quantle.*did you mean 'quantile'"),
        (["--entry.strategies", "simple"], r"entry\.strategies: momentum predicts no open"),
        (["--strategy.quantile", "{a: ["], r"strategy\.quantile"),
        (["--strategy.horizon", "7"], r"strategy\.horizon: 7 is not among"),
        (["--scoring.horizons", "99999"], r"scoring\.horizons"),
        (["--strategy.quantle", "0.1"], r"strategy\.quantle|quantile"),
        (["--model.name", "./no/such/folder"], r"no/such/folder"),
        (["--model.name", "scores:nowhere.csv"], r"nowhere\.csv"),
        (["--model.name", "kronos-nano", "--model.device", "cuda"], r"model\.device: cuda needs scoring\.gpus_per_actor"),
        (["--model.name", "kronos-nano", "--model.device", "mps"], r"model\.device.*mps"),
        (["--scoring.horizons", "5,9000", "--model.name", "kronos-nano"], r"9000"),
        (["--evaluation.gates", "nowhere.yaml"], r"nowhere\.yaml"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(backtest, argv, message):
    code, folder, said = backtest(*argv)
    assert code == 2
    assert re.search(message, said)
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said
    assert not (folder / "scores.parquet").exists()


def test_a_model_folder_without_weights_is_named(backtest, tmp_path):
    empty = tmp_path / "mine"
    empty.mkdir()
    code, _, said = backtest("--model.name", str(empty))
    assert code == 2
    assert str(empty) in said
    assert said.count("\n") == 1


def test_bars_without_a_column_are_named(backtest, bars, tmp_path):
    path = tmp_path / "narrow.parquet"
    bars.drop("low").write_parquet(path)
    code, _, said = backtest(data=path)
    assert code == 2
    assert "narrow.parquet" in said
    assert "low" in said


def test_a_folder_in_use_is_refused(backtest, tmp_path):
    import fcntl

    _, folder, _ = backtest()
    with (folder / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, said = backtest()
    assert code == 2
    assert "in use" in said


def test_a_folder_that_cannot_be_written_is_named(backtest, tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    code, _, said = backtest()
    assert code == 2
    assert "cannot be written" in said


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
