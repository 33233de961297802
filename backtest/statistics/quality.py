"""Forecast quality: are the forecast returns themselves any good, beside their order?"""

from __future__ import annotations

from typing import Any

import polars as pl

__all__ = ["forecast_quality"]

_QUANTILES = {"q05": 0.05, "q50": 0.5, "q95": 0.95}


def forecast_quality(panel: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Errors of the forecast return against the total return, by horizon, over all judged rows.

    Takes horizon, score (the forecast P̂(t+h)/P(t) − 1), total_return, status, mature and, where
    they are kept, q05, q50, q95 and n_paths. Returns {"20": {…}} with

    - ``n``: forecasts with a known outcome
    - ``mae``, ``mae_persistence``, ``mae_ratio``: mean |score − total return|, the same of the
      forecast that the price stays, and their ratio (below 1 beats persistence)
    - ``directional_accuracy``: share of rows whose forecast and outcome have the same sign, those
      with either at 0 left out
    - ``coverage_90``: share of outcomes within [q05, q95], which should be 0.90
    - ``pinball_loss``: twice the mean pinball loss at 5, 50 and 95 %, which is what three
      kept quantiles say of the continuous ranked probability score (Gneiting and Raftery, 2007)
    - ``pinball_loss_persistence``: the same of the forecast that the price stays
    - ``n_paths_median``: with few paths the quantiles are rough

    None for what the panel does not hold; {} without total_return.
    """
    if "total_return" not in panel.columns:
        return {}
    rows = panel.filter(
        pl.col("status") == "ok",
        pl.col("mature").fill_null(False),
        pl.col("score").is_finite(),
        pl.col("total_return").is_finite(),
    )
    actual, forecast = pl.col("total_return"), pl.col("score")
    signed = (actual != 0) & (forecast != 0)
    asked = [
        pl.len().alias("n"),
        (forecast - actual).abs().mean().alias("mae"),
        actual.abs().mean().alias("mae_persistence"),
        (forecast.sign() == actual.sign()).filter(signed).mean().alias("directional_accuracy"),
    ]
    if set(_QUANTILES) <= set(panel.columns):
        # Scores without dispersion (one path) have null quantiles and are left out of these.
        known = pl.all_horizontal(pl.col(name).is_finite() for name in _QUANTILES).fill_null(False)
        inside = (actual >= pl.col("q05")) & (actual <= pl.col("q95"))
        asked += [
            inside.filter(known).mean().alias("coverage_90"),
            _pinball(actual, {name: pl.col(name) for name in _QUANTILES})
            .filter(known)
            .mean()
            .alias("pinball_loss"),
            _pinball(actual, {name: pl.lit(0.0) for name in _QUANTILES})
            .filter(known)
            .mean()
            .alias("pinball_loss_persistence"),
        ]
    if "n_paths" in panel.columns:
        asked.append(pl.col("n_paths").median().alias("n_paths_median"))
    found = [
        {"horizon": horizon, **part.select(asked).row(0, named=True)}
        for (horizon,), part in rows.sort("horizon").group_by("horizon", maintain_order=True)
    ]
    missing = dict.fromkeys(["coverage_90", "pinball_loss", "pinball_loss_persistence"])
    return {str(row.pop("horizon")): {**missing, **row, "mae_ratio": _ratio(row)} for row in found}


def _pinball(actual: pl.Expr, quantiles: dict[str, pl.Expr]) -> pl.Expr:
    losses = [
        pl.max_horizontal(level * (actual - quantile), (level - 1) * (actual - quantile))
        for quantile, level in ((quantiles[name], level) for name, level in _QUANTILES.items())
    ]
    return 2 * pl.sum_horizontal(losses) / len(losses)


def _ratio(row: dict[str, Any]) -> float | None:
    return row["mae"] / row["mae_persistence"] if row["mae_persistence"] else None
