"""Forecast quality: are the forecast returns themselves any good, beside their order?"""

from __future__ import annotations

from collections.abc import Sequence
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
    actual, forecast = pl.col("total_return"), pl.col("score")
    rows = panel.filter(
        pl.col("status") == "ok",
        pl.col("mature").fill_null(False),
        forecast.is_finite(),
        actual.is_finite(),
    )
    signed = (actual != 0) & (forecast != 0)
    figures = {
        **_coverage(actual, panel.columns),
        "n": pl.len(),
        "mae": (forecast - actual).abs().mean(),
        "mae_persistence": actual.abs().mean(),
        "directional_accuracy": (forecast.sign() == actual.sign()).filter(signed).mean(),
    }
    if "n_paths" in panel.columns:
        figures["n_paths_median"] = pl.col("n_paths").median()
    found = {}
    for (horizon,), part in rows.sort("horizon").group_by("horizon", maintain_order=True):
        row = part.select(**figures).row(0, named=True)
        stays = row["mae_persistence"]
        found[str(horizon)] = {**row, "mae_ratio": row["mae"] / stays if stays else None}
    return found


def _coverage(actual: pl.Expr, columns: Sequence[str]) -> dict[str, pl.Expr]:
    """What the kept quantiles say. Rows without dispersion (one path) have none and are left
    out."""
    names = ("coverage_90", "pinball_loss", "pinball_loss_persistence")
    if not set(_QUANTILES) <= set(columns):
        return {name: pl.lit(None) for name in names}
    known = pl.all_horizontal(pl.col(name).is_finite() for name in _QUANTILES).fill_null(False)
    inside = (actual >= pl.col("q05")) & (actual <= pl.col("q95"))
    own = _pinball(actual, [pl.col(name) for name in _QUANTILES])
    stays = _pinball(actual, [pl.lit(0.0)] * len(_QUANTILES))
    return {
        name: series.filter(known).mean()
        for name, series in zip(names, (inside, own, stays), strict=True)
    }


def _pinball(actual: pl.Expr, quantiles: Sequence[pl.Expr]) -> pl.Expr:
    losses = [
        pl.max_horizontal(level * (actual - quantile), (level - 1) * (actual - quantile))
        for quantile, level in zip(quantiles, _QUANTILES.values(), strict=True)
    ]
    return 2 * pl.sum_horizontal(losses) / len(losses)
