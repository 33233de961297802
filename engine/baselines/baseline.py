"""The LightGBM baseline of a run: what a gradient-boosted tree makes of the factor list alone.

1. `build_training_set` ranks features and labels at the training dates (weekly by default), over
   all history the market has, and features at the dates to predict.
2. `plan_jobs` lists a model for each fold and horizon; `folds.training_rows` decides, as for
   everything fitted, which rows it may learn from: labels matured before fold and embargo.
3. `fit_all` fits them, on Ray where that pays; `FitStore` keeps each, so no fit is done twice.
4. The predictions are scores of the contract's shape.

A `Forecaster` sees one window of bars at a time. A model that is fitted across tickers, fold by
fold, has no place behind that door; both doors end in the same table of scores, and
`stage.baseline_scored` gives it where `model.name` is `lightgbm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from engine.baselines.fits import Job, make_fit, plan_jobs
from engine.baselines.fitting import FitStore, Fitted, fit_all, lightgbm_parameters
from engine.baselines.training_set import TrainingSet, build_training_set
from engine.config import Settings
from engine.config.settings import LightGBMSettings
from engine.data import Market

__all__ = ["PREDICTIONS", "LightGBMBaseline", "run_baseline"]

PREDICTIONS = pl.Schema(
    {"asof": pl.Date, "ticker": pl.String, "horizon": pl.Int32, "lightgbm": pl.Float64}
)


@dataclass(frozen=True)
class LightGBMBaseline:
    """Predictions and how they came about.

    Attributes
    ----------
    predictions
        asof, ticker, horizon, lightgbm (predicted rank of the label, higher is better), sorted;
        without the rows of folds that had too little to learn from.
    importances
        horizon, feature, gain: each feature's share of a fit's gain, mean over folds.
    horizons
        Sessions of the labels, whether fitted or not.
    counts
        fits, training_rows_median, training_rows_largest.
    skipped
        (fold, horizon) pairs that were not fitted, by reason.
    identity, fingerprint
        What the predictions were made of, and its SHA-256; empty where nothing was fitted.
    reused
        Fits that an earlier run had finished.
    """

    predictions: pl.DataFrame
    importances: pl.DataFrame
    horizons: tuple[int, ...]
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    reused: int = 0

    def metrics(self) -> dict[str, Any]:
        """JSON-ready: counts, skipped and importances by horizon, largest first."""
        ordered = self.importances.sort("horizon", -pl.col("gain"), "feature")
        shares: dict[str, dict[str, float]] = {}
        for horizon, feature, gain in ordered.iter_rows():
            shares.setdefault(str(horizon), {})[feature] = gain
        return {
            **self.counts,
            "skipped": self.skipped,
            "importances": shares,
            "settings": self.identity.get("settings"),
            "embargo_sessions": self.identity.get("embargo_sessions"),
        }


def run_baseline(
    market: Market,
    asofs: Sequence[date],
    settings: Settings,
    *,
    min_names: int,
    folder: Path,
    console: Console,
) -> LightGBMBaseline:
    """Predict every ticker with a bar at each asof, for every horizon.

    Parameters
    ----------
    asofs
        Sessions to predict; each is served by the model of its fold.
    settings
        `features`, `scoring.horizons`, `baselines.lightgbm`, the embargo and the seed are read.
    min_names
        A fold whose training dates have fewer in the median is not fitted: no gate could use it.
    folder
        Where finished fits are kept, and found again.

    Raises
    ------
    OSError
        A fit cannot be written.
    """
    rules, horizons = settings.baselines.lightgbm, settings.scoring.horizons
    refused = _not_worth_it(market, asofs, rules, min_names)
    if refused is not None:
        return _nothing(horizons, refused)
    data = _training_set(market, asofs, settings)
    jobs = plan_jobs(
        data,
        asofs,
        horizons,
        calendar=market.calendar,
        embargo_sessions=settings.embargo_sessions,
        refit=rules.refit,
    )
    learned = [job for job in jobs if job.training_rows >= rules.min_train_rows]
    enough = [job for job in learned if job.names >= min_names]
    identity = _identity(market, data, settings)
    store = FitStore(folder, identity)
    before = [found for job in enough if (found := store.read(job))]
    fitted = before + _fitted(data, _left(enough, before), market, settings, store, console)
    left_out = {
        f"fewer than {rules.min_train_rows} training rows": len(jobs) - len(learned),
        f"fewer than {min_names} names a training date": len(learned) - len(enough),
    }
    return LightGBMBaseline(
        predictions=_predictions(data, fitted),
        importances=_importances(data, fitted),
        horizons=tuple(horizons),
        counts={
            "fits": len(enough),
            "training_rows_median": int(np.median([job.training_rows for job in enough] or [0])),
            "training_rows_largest": max((job.training_rows for job in enough), default=0),
        },
        skipped={reason: count for reason, count in left_out.items() if count},
        identity=identity,
        fingerprint=store.fingerprint,
        reused=len(before),
    )


def _not_worth_it(
    market: Market, asofs: Sequence[date], rules: LightGBMSettings, min_names: int
) -> dict[str, int] | None:
    """Why nothing can be fitted, known before anything is read; None: it can.

    With fewer names than needed on the fullest date no fold has enough.
    """
    if not rules.enabled:
        return {"baselines.lightgbm.enabled is false": 1}
    if not asofs:
        return {}
    fullest = market.bars.group_by("date").len()["len"].max()
    most = fullest if isinstance(fullest, int) else 0
    if most >= min_names:
        return None
    return {f"at most {most} names a date, the gates need {min_names}": 1}


def _training_set(market: Market, asofs: Sequence[date], settings: Settings) -> TrainingSet:
    first = market.bars["date"].min()
    assert isinstance(first, date)
    last = min(max(asofs), market.last_session)
    rebalance = settings.baselines.lightgbm.train_rebalance
    return build_training_set(
        market,
        settings.features,
        settings.scoring.horizons,
        train_dates=market.calendar.rebalances(first, last, rebalance),
        asofs=asofs,
    )


def _left(jobs: Sequence[Job], done: Sequence[Fitted]) -> list[Job]:
    finished = {(found.job.fold, found.job.horizon) for found in done}
    return [job for job in jobs if (job.fold, job.horizon) not in finished]


def _fitted(
    data: TrainingSet,
    jobs: Sequence[Job],
    market: Market,
    settings: Settings,
    store: FitStore,
    console: Console,
) -> list[Fitted]:
    """The fits of `jobs`, each kept in the store as soon as it is made."""
    rules, fitted = settings.baselines.lightgbm, []

    def commit(result: Fitted) -> None:
        store.commit(result)
        fitted.append(result)

    fit_all(
        data.matrix,
        data.names,
        (
            make_fit(
                data,
                job,
                calendar=market.calendar,
                embargo_sessions=settings.embargo_sessions,
                half_life_sessions=rules.half_life_sessions,
            )
            for job in jobs
        ),
        jobs=jobs,
        parameters=lightgbm_parameters(rules, settings.run.seed),
        trees=rules.num_iterations,
        ray_address=settings.scoring.ray_address,
        commit=commit,
        console=console,
    )
    return fitted


def _identity(market: Market, data: TrainingSet, settings: Settings) -> dict[str, Any]:
    rules = settings.baselines.lightgbm
    return {
        "version": 2,  # 2: z-scores compare with the members of a date
        "forecaster": "lightgbm",
        "lightgbm": metadata.version("lightgbm"),
        "data_hash": market.data_hash,
        "calendar": market.calendar.name,
        "features": list(data.names),
        "settings": rules.model_dump(mode="json", exclude={"enabled", "min_train_rows"}),
        "embargo_sessions": settings.embargo_sessions,
        "seed": settings.run.seed,
    }


def _predictions(data: TrainingSet, fitted: Sequence[Fitted]) -> pl.DataFrame:
    if not fitted:
        return pl.DataFrame(schema=PREDICTIONS)
    rows = pl.concat(
        pl.DataFrame({"row": found.job.predict, "lightgbm": found.prediction}).with_columns(
            horizon=pl.lit(found.job.horizon, dtype=pl.Int32)
        )
        for found in fitted
    )
    return (
        rows.join(data.keys, on="row", how="inner")
        .select(*PREDICTIONS)
        .sort("asof", "ticker", "horizon")
    )


def _importances(data: TrainingSet, fitted: Sequence[Fitted]) -> pl.DataFrame:
    schema = {"horizon": pl.Int32, "feature": pl.String, "gain": pl.Float64}
    shares: dict[int, list[np.ndarray]] = {}
    for found in sorted(fitted, key=lambda item: (item.job.horizon, item.job.fold)):
        shares.setdefault(found.job.horizon, []).append(found.gain)
    rows = [
        (horizon, name, float(gain))
        for horizon, gains in shares.items()
        for name, gain in zip(data.names, np.mean(gains, axis=0), strict=True)
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _nothing(horizons: Sequence[int], skipped: dict[str, int]) -> LightGBMBaseline:
    schema = {"horizon": pl.Int32, "feature": pl.String, "gain": pl.Float64}
    return LightGBMBaseline(
        pl.DataFrame(schema=PREDICTIONS),
        pl.DataFrame(schema=schema),
        tuple(horizons),
        skipped=skipped,
    )
