"""The runs of a comparison: what is read of their folders, and what sets them apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from backtest.statistics.ic import information_coefficient
from backtest.statistics.significance import bootstrap_interval, mean_interval, session_spacing
from engine.calendar import TradingCalendar
from engine.errors import UsageError
from engine.yaml_file import read_yaml

__all__ = ["FinishedRun", "distinct", "load_run", "paired_differences", "unlike"]

DRAWS = 1000


@dataclass(frozen=True)
class FinishedRun:
    """What a comparison reads of a run folder.

    Attributes
    ----------
    name
        The folder's name.
    metrics, gates, config, manifest
        Contents of its files.
    ic
        asof, horizon, rank_ic of the judged dates after the model's training period.
    returns
        date, net, benchmark of the judged dates.
    """

    name: str
    metrics: dict[str, Any]
    gates: dict[str, Any]
    config: dict[str, Any]
    manifest: dict[str, Any]
    ic: pl.DataFrame
    returns: pl.DataFrame


def load_run(folder: Path) -> FinishedRun:
    """Raises UsageError naming the file that is missing or cannot be read."""
    try:
        metrics, gates, manifest = (
            json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("metrics", "gates", "manifest")
        )
        config = read_yaml(folder / "config.yaml")
        panel = pl.read_parquet(
            folder / "panel.parquet",
            columns=["asof", "ticker", "horizon", "score", "status", "label", "mature",
                     "in_training"],
        )  # fmt: skip
        returns = pl.read_parquet(folder / "returns.parquet")
    except (UsageError, OSError, ValueError, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{folder} is no finished run of this version: {reason}") from None
    ic = information_coefficient(
        panel.filter(~pl.col("in_training")),
        min_cross_section=config["evaluation"]["min_cross_section"],
    ).filter(pl.col("status") == "judged")
    return FinishedRun(
        name=folder.resolve().name,
        metrics=metrics,
        gates=gates,
        config=config,
        manifest=manifest,
        ic=ic.select("asof", "horizon", "rank_ic"),
        returns=returns.filter(~pl.col("in_training")),
    )


def distinct(runs: list[FinishedRun]) -> list[FinishedRun]:
    """The runs themselves; raises UsageError where two have one name."""
    names = [run.name for run in runs]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise UsageError(f"compare: two runs are named {doubled[0]!r}")
    return runs


def unlike(runs: Sequence[FinishedRun]) -> list[str]:
    """What makes the columns differ besides the score."""
    checks = {
        "data": [run.manifest.get("data_hash") for run in runs],
        "benchmark": [run.config["data"]["benchmark"] for run in runs],
        "rebalance schedules": [run.config["scoring"]["rebalance"] for run in runs],
        "costs": [run.config["costs"] for run in runs],
        "judged dates": [
            (run.ic["asof"].min(), run.ic["asof"].max(), run.ic["asof"].n_unique()) for run in runs
        ],
    }
    return [
        f"the runs differ in their {what}"
        for what, values in checks.items()
        if any(value != values[0] for value in values)
    ]


def paired_differences(
    runs: Sequence[FinishedRun], *, draws: int = DRAWS, seed: int = 0
) -> list[dict[str, Any]]:
    """Mean RankIC of each later run minus the first one's, on the dates that both judged.

    Returns
    -------
    list of dict
        run, against, horizon, n_dates, difference, bootstrap_ci95 (stationary bootstrap of the
        paired differences, Politis and Romano, 1994), ci95 (the interval of the gates) and
        ``distinct``: neither interval holds 0.
    """
    first = runs[0]
    rows = []
    for other in runs[1:]:
        both = other.ic.join(first.ic, on=["asof", "horizon"], suffix="_first").sort("asof")
        calendar = TradingCalendar(other.config["data"]["calendar"])
        for horizon in sorted(both["horizon"].unique().to_list()):
            part = both.filter(pl.col("horizon") == horizon)
            change = part["rank_ic"] - part["rank_ic_first"]
            dates = part["asof"].to_list()
            spacing = session_spacing(dates, calendar.sessions(dates[0], dates[-1]))
            found = mean_interval(change, horizon=horizon, spacing=spacing)
            drawn = bootstrap_interval(
                change, horizon=horizon, spacing=spacing, draws=draws, seed=seed
            )
            bounds = [b for b in (found.bounds, drawn) if b is not None]
            rows.append(
                {
                    "run": other.name,
                    "against": first.name,
                    "horizon": horizon,
                    "n_dates": part.height,
                    "difference": found.mean,
                    "bootstrap_ci95": drawn,
                    "ci95": found.bounds,
                    "distinct": bool(bounds) and all(low > 0 or high < 0 for low, high in bounds),
                }
            )
    return rows
