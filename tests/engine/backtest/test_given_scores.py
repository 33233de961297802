"""Scores that somebody else made, judged by the main job."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from main_job import TICKERS, read

from engine.backtest.__main__ import main


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
