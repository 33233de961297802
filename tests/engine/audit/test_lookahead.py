"""The audit finds planted leaks by name and nothing in what ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.audit import audit_lookahead, audit_recursive, stages_of
from engine.audit.__main__ import main
from engine.config import Settings, load_settings

TICKERS = [f"T{n:02d}" for n in range(12)]
FIRST, LAST = date(2016, 1, 4), date(2018, 12, 31)


@pytest.fixture(scope="module")
def settings(make_bars, tmp_path_factory) -> Settings:
    """Twelve tickers and an index; T01 leaves early, T02 comes late, T03 pays out along the way."""
    spans = {**dict.fromkeys(TICKERS, (FIRST, LAST)), "IDX": (FIRST, LAST)}
    spans["T01"] = (FIRST, date(2018, 6, 29))
    spans["T02"] = (date(2017, 3, 1), LAST)
    bars = make_bars(spans, seed=5).with_columns(
        adj_factor=pl.when(pl.col("ticker") == "T03", pl.col("date") < date(2018, 1, 2))
        .then(0.5)
        .otherwise("adj_factor")
    )
    path = tmp_path_factory.mktemp("audit") / "bars.parquet"
    bars.write_parquet(path)
    return load_settings(
        {
            "data.source": "parquet",
            "data.path": str(path),
            "data.benchmark": "IDX",
            "model.name": "momentum",
            "scoring.lookback": "40",
            "scoring.horizons": "[5]",
            "strategy.quantile": "0.2",
        },
        environment={},
    )


@dataclass(frozen=True)
class Leak:
    """A column that a leaking stage adds or changes."""

    plant: Callable
    column: str
    check: str = "truncated"


def with_panel(stages, change):
    """The stages with the panel changed by `change(panel, market)` after everything else."""

    def decide(scores, market):
        decided = stages.decide(scores, market)
        return replace(decided, panel=change(decided.panel, market))

    return stages.replace(decide=decide)


def in_panel(column: str, expression: Callable[[pl.DataFrame], pl.DataFrame], check="truncated"):
    """A feature made from the market's closes (date, ticker, close, adjusted) and joined at t."""

    def plant(stages):
        def panel(frame, market):
            closes = market.adjusted().select("date", "ticker", "close", "volume")
            made = expression(closes.sort("ticker", "date")).select("date", "ticker", column)
            return frame.join(
                made, left_on=["asof", "ticker"], right_on=["date", "ticker"], how="left"
            )

        return with_panel(stages, panel)

    return Leak(plant, column, check)


CLOSE = pl.col("close")


def shifted(closes):
    return closes.with_columns(tomorrow=(CLOSE.shift(-1) / CLOSE - 1).over("ticker"))


def full_sample_z_score(closes):
    daily = (CLOSE / CLOSE.shift(1) - 1).over("ticker")
    z = (pl.col("d") - pl.col("d").mean().over("ticker")) / pl.col("d").std().over("ticker")
    return closes.with_columns(d=daily).with_columns(z_score=z)


def centred(closes):
    mean = CLOSE.rolling_mean(11, center=True, min_samples=1)
    return closes.with_columns(trend=(CLOSE / mean).over("ticker"))


def backward_filled(closes):
    rare = pl.when(pl.col("date").dt.day() % 7 == 0).then(CLOSE / CLOSE.shift(5)).over("ticker")
    return closes.with_columns(filled=rare).with_columns(
        filled=pl.col("filled").backward_fill().over("ticker")
    )


def label_in_features(stages):
    return with_panel(
        stages, lambda frame, market: frame.with_columns(quality=pl.col("total_return") * 0.5)
    )


def benchmark_of_tomorrow(stages):
    def panel(frame, market):
        index = market.benchmark.select(asof="date", index_return=CLOSE.shift(-1) / CLOSE - 1)
        return frame.join(index, on="asof", how="left")

    return with_panel(stages, panel)


def normalised_over_the_future(stages):
    """Scores from prices centred over context and future."""

    def scores(market, asofs):
        frame = stages.scores(market, asofs)
        closes = market.adjusted().select("date", "ticker", "close").sort("ticker", "date")
        window = closes.with_columns(
            centre=CLOSE.rolling_mean(46, min_samples=1).shift(-5).over("ticker")
        ).with_columns(centre=pl.col("centre").fill_null(CLOSE.mean().over("ticker")))
        joined = frame.join(
            window, left_on=["asof", "ticker"], right_on=["date", "ticker"], how="left"
        )
        return joined.with_columns(score=CLOSE / pl.col("centre") - 1).select(frame.columns)

    return stages.replace(scores=scores)


def survivors(stages):
    """Only tickers that still trade on the last date of the data."""

    def market(loaded):
        last = loaded.bars.filter(pl.col("date") == pl.col("date").max())["ticker"]
        return replace(loaded, bars=loaded.bars.filter(pl.col("ticker").is_in(last.implode())))

    return stages.replace(market=market)


def best_in_hindsight(stages):
    """The six tickers with the highest volume over the whole sample."""

    def market(loaded):
        volume = loaded.bars.group_by("ticker").agg(pl.col("close").last()).sort("ticker")
        best = volume.top_k(6, by="close")["ticker"]
        return replace(loaded, bars=loaded.bars.filter(pl.col("ticker").is_in(best.implode())))

    return stages.replace(market=market)


def penny_filter(stages):
    """No stock under 20, by the adjusted price."""

    def decide(scores, market):
        closes = market.adjusted().select(asof="date", ticker="ticker", last_adjusted="close")
        keys = ["asof", "ticker"]
        dear = scores.join(closes.filter(pl.col("last_adjusted") >= 20), on=keys, how="semi")
        weights = stages.decide(dear, market).books
        panel = stages.decide(scores, market).panel.join(closes, on=keys, how="left")
        return replace(stages.decide(scores, market), panel=panel, books=weights)

    return stages.replace(decide=decide)


LEAKS = {
    "negative shift": in_panel("tomorrow", shifted),
    "full-sample z-score": in_panel("z_score", full_sample_z_score),
    "survivorship filter on the last date": Leak(survivors, "(row)"),
    "label in features": Leak(label_in_features, "quality"),
    "centred rolling window": in_panel("trend", centred),
    "backward fill": in_panel("filled", backward_filled),
    "normalisation over context and future": Leak(normalised_over_the_future, "score"),
    "benchmark of t+1 joined at t": Leak(benchmark_of_tomorrow, "index_return"),
    "universe known in hindsight": Leak(best_in_hindsight, "(row)", "noised"),
    "adjusted price level filter": Leak(penny_filter, "last_adjusted", "rescaled"),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_planted_leak_is_found_by_name(settings, name):
    leak = LEAKS[name]
    found = audit_lookahead(settings, stages=leak.plant(stages_of(settings)), dates=2).findings
    named = [item for item in found if item.column == leak.column and item.check == leak.check]
    assert named, [f"{item.check} {item.table}.{item.column}" for item in found]
    assert named[0].ticker in TICKERS
    assert named[0].date is not None
    innocent = {"momentum_12m", "volatility_20", "trend_regime", "fold"}
    assert not innocent & {item.column for item in found}


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {
            "model.name": "reversal",
            "scoring.rebalance": "weekly",
            "scoring.horizons": "[5, 20]",
            "data.benchmark": "null",
            "data.universe": "[T00, T01, T02, T03, T04, T05, IDX]",
        },
        {
            "model.name": "kronos-nano",
            "scoring.lookback": "32",
            "scoring.batch_size": "16",
            "scoring.sampling.paths": "1",
            "data.universe": "[T00, T01, T02, T03, T04, T05]",
        },
    ],
    ids=["momentum", "reversal, weekly, no benchmark", "nano"],
)
def test_what_ships_is_clean(settings, flags):
    path = str(settings.data.path)
    chosen = {"data.source": "parquet", "data.path": path, "data.benchmark": "IDX"}
    chosen |= {"model.name": "momentum", "scoring.lookback": "40", "scoring.horizons": "[5]"}
    found = audit_lookahead(load_settings(chosen | flags, environment={}), dates=2)
    assert found.findings == ()
    assert found.cells > 1000


def test_shuffled_scores_that_still_rank_are_a_finding(settings):
    """Judging that looks at the rank of the label instead of the scores dealt out."""
    found = audit_lookahead(settings, dates=2, shuffled_dates=30)
    (test,) = found.permutation
    assert test.n_dates >= 20
    assert abs(test.shuffled_mean) < 5 * test.shuffled_error
    assert replace(test, shuffled_mean=0.2).suspicious


def test_a_feature_that_reads_all_history_drifts(settings):
    stages = stages_of(settings)

    def features(market):
        running = pl.col("volume").cum_sum().over("ticker").alias("running_volume")
        volume = market.bars.select("date", "ticker", running)
        return stages.features(market).join(volume, on=["date", "ticker"], how="left")

    clean = audit_recursive(settings, dates=1)
    assert clean.findings == ()
    warm = clean.drift.filter(pl.col("column") == "momentum_12m", pl.col("history") == 128)
    assert warm["drift"].item() is None
    assert warm["missing"].item() == 1.0
    found = audit_recursive(settings, stages=stages.replace(features=features), dates=1)
    assert [item.column for item in found.findings] == ["running_volume"]
    drift = found.drift.filter(pl.col("column") == "running_volume")["drift"]
    assert drift.min() > 0.1


def test_the_command_says_what_it_found(settings, tmp_path: Path, capsys):
    flags = ["--data.source", "parquet", "--data.path", str(settings.data.path)]
    flags += ["--model.name", "momentum", "--scoring.lookback", "40", "--data.benchmark", "IDX"]
    out = tmp_path / "audit.json"
    assert main(["lookahead", *flags, "--dates", "1", "--json", str(out)]) == 0
    assert "no finding" in capsys.readouterr().out
    assert '"findings": []' in out.read_text()
    assert main(["recursive", *flags, "--dates", "1"]) == 0
    assert "momentum_12m" in capsys.readouterr().out
    assert main(["backwards"]) == 2
    assert main(["lookahead", *flags, "--dates", "none"]) == 2
