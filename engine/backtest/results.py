"""What a run leaves for programs: the contents of `metrics.json` and `manifest.json`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date
from typing import Any

import polars as pl

from backtest.gates.rules import GateRules
from backtest.judge import Judgement
from engine.baselines.baseline import LightGBMBaseline
from engine.config import Settings
from engine.data.market import Market
from engine.data.membership import SECTOR
from engine.forecasters.named import TrainingPeriod
from engine.run_folder import environment_facts
from engine.scoring.score import Scored

__all__ = ["manifest_content", "metrics_content", "report_frames"]

FLAGS = {
    "delisted": "positions sold at the last price: no bar for simulation.delisted_after sessions",
    "no_open": "orders that lapsed: no open on the fill session",
    "ruined": "portfolios that lost everything",
}


def metrics_content(
    settings: Settings,
    market: Market,
    training: TrainingPeriod,
    scored: Scored,
    panel: pl.DataFrame,
    judged: Judgement,
    before: Judgement | None,
    baseline: LightGBMBaseline,
) -> dict[str, Any]:
    """`metrics.json`: figures of the judged dates, apart those of the training period, counts."""
    asofs = scored.scores["asof"]
    apart = None
    if before is not None:
        apart = {
            "horizons": before.metrics["horizons"],
            "portfolio": before.metrics["portfolio"],
            "first_asof": _iso(before.first_asof),
            "last_asof": _iso(before.last_asof),
        }
    return {
        "version": 1,
        "run": {
            "name": settings.run.name,
            "model": settings.model.name,
            "trained_until": _iso(training.until),
            "training_period": training.kind,
            "first_asof": _iso(asofs.min()),
            "last_asof": _iso(asofs.max()),
            "n_asofs": asofs.n_unique(),
            "n_tickers": scored.scores["ticker"].n_unique(),
            "rebalance": settings.scoring.rebalance,
            "benchmark": settings.data.benchmark,
            "k": judged.metrics["churn"].get("k"),
        },
        **judged.metrics,
        "baseline_training": {"lightgbm": baseline.metrics()},
        "in_training": apart,
        "drops": _drops(market, scored, panel),
        "flags": _flags(panel, judged, before, baseline),
    }


def manifest_content(
    settings: Settings,
    market: Market,
    training: TrainingPeriod,
    rules: GateRules,
    scored: Scored,
    drops: Mapping[str, int],
    seconds: Mapping[str, float],
    baseline: LightGBMBaseline,
) -> dict[str, Any]:
    """`manifest.json`: what the run was made of, enough to make it again."""
    counts = {"shards_reused": 0, "shards_computed": 0, **scored.counts}
    return {
        "version": 1,
        "name": settings.run.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **environment_facts(),
        "model": settings.model.name,
        "trained_until": _iso(training.until),
        "score_fingerprint": scored.fingerprint,
        "score_identity": scored.identity,
        "data_hash": market.data_hash,
        "baseline_fits": baseline.counts.get("fits", 0),
        "baseline_fits_reused": baseline.reused,
        "baseline_fingerprint": baseline.fingerprint,
        "baseline_identity": baseline.identity,
        "gate_rules": rules.model_dump(mode="json"),
        "seed": settings.run.seed,
        **counts,
        "skipped": scored.skipped,
        "failed": scored.failed,
        "quarantined_rows": market.quarantine.height,
        "drops": dict(drops),
        "seconds": dict(seconds),
    }


def report_frames(judged: Judgement, before: Judgement | None) -> dict[str, pl.DataFrame]:
    """The report's frames: both sets of dates, told apart by `in_training`."""
    return {
        name: pl.concat(
            [
                getattr(part, name).with_columns(in_training=pl.lit(inside))
                for part, inside in ((judged, False), (before, True))
                if part is not None
            ],
            how="vertical_relaxed",
        )
        for name in ("ic", "returns", "churn", "net_excess", "quantiles")
    }


def _drops(market: Market, scored: Scored, panel: pl.DataFrame) -> dict[str, int]:
    """Every row left out anywhere, by reason; labels count windows times horizons."""
    ok = pl.col("status") == "ok"
    counts = {
        **market.drops,
        **scored.dropped,
        **{f"window skipped: {reason}": n for reason, n in scored.skipped.items()},
        **{f"window failed: {reason}": n for reason, n in scored.failed.items()},
        "label not mature at the last bar": panel.filter(ok & ~pl.col("mature")).height,
        "label missing": panel.filter(ok & pl.col("mature") & pl.col("label").is_null()).height,
        "score without a bar at its asof": panel.filter(ok & pl.col("mature").is_null()).height,
    }
    return {reason: n for reason, n in counts.items() if n}


def _flags(
    panel: pl.DataFrame, judged: Judgement, before: Judgement | None, baseline: LightGBMBaseline
) -> dict[str, int]:
    """What was kept although something about it is unusual."""
    labels = panel.drop_nulls("label_flag")["label_flag"].value_counts().sort("label_flag")
    counts = {f"labels with flag '{flag}'": n for flag, n in labels.iter_rows()}
    for part in (judged, before):
        for flag in part.flags["flag"] if part else ():
            counts[FLAGS[flag]] = counts.get(FLAGS[flag], 0) + 1
    if SECTOR in panel.columns:
        unknown = panel.filter(pl.col("status") == "ok", pl.col(SECTOR).is_null()).height
        if unknown:
            counts["scores without a sector: not in the RankIC that is free of sectors"] = unknown
    if judged.metrics["portfolio"].get("trials_problem"):
        counts["trials not recorded: the registry is locked or damaged"] = 1
    return counts | {f"LightGBM not fitted: {why}": n for why, n in baseline.skipped.items()}


def _iso(day: object) -> str | None:
    return day.isoformat() if isinstance(day, date) else None
