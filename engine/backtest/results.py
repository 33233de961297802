"""What a run leaves: `metrics.json`, `manifest.json`, the tables and the report.

Every file's content is made once, of what the run found out; nothing is added to it afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import date
from typing import Any

import polars as pl

from backtest.judge import json_ready
from backtest.judgement import Judgement
from backtest.report import ReportData, write_report
from engine.backtest.judging import DecidedRun, RunJudgement
from engine.backtest.registry import deflated
from engine.data.membership import SECTOR
from engine.files import write_frame
from engine.run_folder import RunFolder, environment_facts
from engine.scoring.sanity import check_scores

__all__ = ["manifest_content", "metrics_content", "write_results"]

OPTIONAL_TABLES = ("levels", "entry_trades")
FLAGS = {
    "delisted": "positions sold at the last price: no bar for simulation.delisted_after sessions",
    "no_open": "orders that lapsed: no open on the fill session",
    "ruined": "portfolios that lost everything",
}


def metrics_content(run: DecidedRun, found: RunJudgement) -> dict[str, Any]:
    """`metrics.json`: figures of the judged dates, apart those of the training period, counts."""
    after = found.after
    problem = found.trials.problem if found.trials else None
    portfolio = {
        **after.metrics["portfolio"],
        **_deflated(run, found, after.returns),
        **({"trials_problem": problem} if problem else {}),
    }
    selection = found.selection
    chosen = selection.metrics(periods_per_year=run.periods_per_year) if selection else None
    return {
        "version": 1,
        "run": _run_facts(run, after),
        **after.metrics,
        "portfolio": portfolio,
        "baseline_training": {"lightgbm": run.baseline.metrics()},
        "in_training": _in_training(found.before),
        "drops": _drops(run),
        "flags": _flags(run, found),
        "sanity": check_scores(run.scored.scores, run.settings.evaluation.sanity),
        "attribution": found.attribution,
        **({"selection": json_ready(chosen)} if chosen else {}),
        **({"entry": _entry(run, found)} if found.entry.metrics else {}),
    }


def manifest_content(
    run: DecidedRun, drops: Mapping[str, int], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """`manifest.json`: what the run was made of, enough to make it again."""
    settings, scored, baseline = run.settings, run.scored, run.baseline
    counts = {"shards_reused": 0, "shards_computed": 0, **scored.counts}
    return {
        "version": 1,
        "name": settings.run.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **environment_facts(),
        "model": settings.model.name,
        "trained_until": _iso(run.prepared.training.until),
        "score_fingerprint": scored.fingerprint,
        "score_identity": scored.identity,
        "data_hash": run.prepared.market.data_hash,
        "baseline_fits": baseline.counts.get("fits", 0),
        "baseline_fits_reused": baseline.reused,
        "baseline_fingerprint": baseline.fingerprint,
        "baseline_identity": baseline.identity,
        "gate_rules": run.prepared.rules.model_dump(mode="json"),
        "seed": settings.run.seed,
        **counts,
        "skipped": scored.skipped,
        "failed": scored.failed,
        "quarantined_rows": run.prepared.market.quarantine.height,
        "drops": dict(drops),
        "seconds": dict(seconds),
    }


def write_results(
    folder: RunFolder,
    run: DecidedRun,
    found: RunJudgement,
    metrics: dict[str, Any],
    manifest: dict[str, Any],
) -> None:
    """Tables, `config.yaml`, `metrics.json`, `gates.json` and the report, but not the manifest.

    All results at the end, so that a run that fails leaves the folder as it was. The old manifest
    goes first and the caller writes the new one last: a folder without one is not complete.
    """
    data = ReportData(
        metrics=metrics,
        gates=found.gates,
        manifest=manifest,
        config=run.settings.model_dump(mode="json"),
        rules=run.prepared.rules,
        weights=found.weights,
        quarantine=run.prepared.market.quarantine,
        attribution=found.attributed_days,
        **_report_frames(found.after, found.before),
    )
    (folder.path / "manifest.json").unlink(missing_ok=True)
    tables = {
        "scores": run.scored.scores,
        "panel": run.panel,
        "weights": found.weights,
        "returns": data.returns,
        "trades": found.after.trades,
        "levels": run.scored.levels,
        "entry_trades": found.entry.trades,
    }
    for name, frame in tables.items():
        path = folder.path / f"{name}.parquet"
        if name in OPTIONAL_TABLES and frame.is_empty():
            path.unlink(missing_ok=True)  # of an earlier run in this folder
        else:
            write_frame(path, frame)
    folder.write_yaml("config.yaml", data.config)
    folder.write_json("metrics.json", metrics)
    folder.write_json("gates.json", found.gates)
    write_report(folder.path, data)


def _run_facts(run: DecidedRun, after: Judgement) -> dict[str, Any]:
    settings, scores = run.settings, run.scored.scores
    asofs = scores["asof"]
    return {
        "name": settings.run.name,
        "model": settings.model.name,
        "trained_until": _iso(run.prepared.training.until),
        "training_period": run.prepared.training.kind,
        "first_asof": _iso(asofs.min()),
        "last_asof": _iso(asofs.max()),
        "n_asofs": asofs.n_unique(),
        "n_tickers": scores["ticker"].n_unique(),
        "rebalance": settings.scoring.rebalance,
        "benchmark": settings.data.benchmark,
        "k": after.metrics["churn"].get("k"),
    }


def _deflated(run: DecidedRun, found: RunJudgement, returns: pl.DataFrame) -> dict[str, Any]:
    """The deflated Sharpe of some returns; nothing where no trial was recorded."""
    if found.trials is None:
        return {}
    return deflated(
        returns,
        found.trials,
        at_least=run.settings.evaluation.trials,
        periods_per_year=run.periods_per_year,
    )


def _in_training(before: Judgement | None) -> dict[str, Any] | None:
    if before is None:
        return None
    return {
        "horizons": before.metrics["horizons"],
        "portfolio": before.metrics["portfolio"],
        "first_asof": _iso(before.first_asof),
        "last_asof": _iso(before.last_asof),
    }


def _entry(run: DecidedRun, found: RunJudgement) -> dict[str, Any]:
    """The entry strategies' figures, the deflated Sharpe beside those out of sample."""
    content = {}
    for name, figures in found.entry.metrics.items():
        own = found.entry.returns.filter(pl.col("strategy") == name)
        judged = figures["out_of_sample"] | _deflated(run, found, own)
        content[name] = {**figures, "out_of_sample": judged}
    return content


def _drops(run: DecidedRun) -> dict[str, int]:
    """Every row left out anywhere, by reason; labels count windows times horizons."""
    scored, panel, ok = run.scored, run.panel, pl.col("status") == "ok"
    counts = {
        **run.prepared.market.drops,
        **scored.dropped,
        **{f"window skipped: {reason}": n for reason, n in scored.skipped.items()},
        **{f"window failed: {reason}": n for reason, n in scored.failed.items()},
        "label not mature at the last bar": panel.filter(ok & ~pl.col("mature")).height,
        "label missing": panel.filter(ok & pl.col("mature") & pl.col("label").is_null()).height,
        "score without a bar at its asof": panel.filter(ok & pl.col("mature").is_null()).height,
    }
    return {reason: n for reason, n in counts.items() if n}


def _flags(run: DecidedRun, found: RunJudgement) -> dict[str, int]:
    """What was kept although something about it is unusual."""
    panel = run.panel
    labels = panel.drop_nulls("label_flag")["label_flag"].value_counts().sort("label_flag")
    counts = {f"labels with flag '{flag}'": n for flag, n in labels.iter_rows()}
    for part in (found.after, found.before):
        for flag in part.flags["flag"] if part else ():
            counts[FLAGS[flag]] = counts.get(FLAGS[flag], 0) + 1
    if SECTOR in panel.columns:
        unknown = panel.filter(pl.col("status") == "ok", pl.col(SECTOR).is_null()).height
        if unknown:
            counts["scores without a sector: not in the RankIC that is free of sectors"] = unknown
    if found.trials and found.trials.problem:
        counts["trials not recorded: the registry is locked or damaged"] = 1
    return counts | {f"LightGBM not fitted: {why}": n for why, n in run.baseline.skipped.items()}


def _report_frames(judged: Judgement, before: Judgement | None) -> dict[str, pl.DataFrame]:
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


def _iso(day: object) -> str | None:
    return day.isoformat() if isinstance(day, date) else None
