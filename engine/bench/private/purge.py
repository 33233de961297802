"""Why the purge: a baseline that learns from labels that are not known yet finds skill in noise.

1. `noise_market` (`_noise`) simulates prices nobody can predict: independent returns of names that
   differ in volatility and in money traded.
2. Two baselines are fitted on it, alike in everything but the rows they learn from: those of
   `folds.training_rows`, and every earlier row, whether its label had matured or not.
3. `RankIC` of both over many seeds. What is not 0 is a leak.

The leak needs no mistake that anyone would notice: a row of last week has a 60-session label that
runs through the next eleven weeks, most of which is the label to be judged, and a ticker's slow
factors tell the trees which ticker it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from backtest.statistics.ic import information_coefficient
from engine.baselines.fits import Fit, Job, make_fit, plan_jobs
from engine.baselines.fitting import boost, lightgbm_parameters
from engine.baselines.training_set import TrainingSet, build_training_set
from engine.bench.private.noise import noise_market, sessions_in
from engine.bench.result import BenchResult
from engine.command import make_console
from engine.config.settings import LightGBMSettings, Settings
from engine.data import Market
from engine.features.labels import compute_labels
from engine.progress import WorkProgress

__all__ = ["SUMMARY", "LeakStudy", "leak_study", "run"]

SUMMARY = "what a baseline finds in noise with purge and embargo, and without"


@dataclass(frozen=True)
class LeakStudy:
    """Mean RankIC of one simulated market: learned from rows as they should be, and from all."""

    seed: int
    purged: float
    every_earlier_row: float


def run(arguments: list[str]) -> BenchResult:
    parser = argparse.ArgumentParser(prog="engine.bench purge")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--names", type=int, default=100)
    parser.add_argument("--years", type=int, default=5)
    parser.add_argument("--judged-years", type=int, default=2)
    parser.add_argument("--horizon", type=int, default=60)
    given = parser.parse_args(arguments)
    console = make_console()
    found = []
    with WorkProgress(console, "markets", given.seeds, "markets") as progress:
        for seed in range(given.seeds):
            market = noise_market(seed, names=given.names, sessions=sessions_in(given.years))
            found.append(
                leak_study(market, seed, horizon=given.horizon, judged_years=given.judged_years)
            )
            progress.update(seed + 1)
    kinds = {
        "purge and embargo": [study.purged for study in found],
        "every earlier row": [study.every_earlier_row for study in found],
    }
    return BenchResult(
        name="purge",
        columns=("training rows", "mean RankIC", "95% interval", "markets above 0"),
        rows=[
            (
                kind,
                f"{np.mean(values):+.4f}",
                _interval(values),
                f"{np.mean(np.array(values) > 0):.0%}",
            )
            for kind, values in kinds.items()
        ],
        notes=[
            f"{given.seeds} simulated markets without predictability: {given.names} names, "
            f"{given.years} years, the last {given.judged_years} judged monthly, "
            f"labels of {given.horizon} sessions, trained weekly, refitted monthly.",
            "The interval is Student's over markets, which are independent.",
        ],
    )


def leak_study(
    market: Market,
    seed: int,
    *,
    horizon: int,
    judged_years: int,
    settings: LightGBMSettings | None = None,
) -> LeakStudy:
    """Fit both kinds on the market and judge them on the last `judged_years`, monthly."""
    settings = settings or LightGBMSettings()
    calendar, last = market.calendar, market.last_session
    first = market.bars["date"].min()
    assert isinstance(first, date)
    asofs = [
        day
        for day in calendar.rebalances(last.replace(year=last.year - judged_years), last, "monthly")
        if calendar.offset(day, horizon) <= last
    ]
    train_dates = calendar.rebalances(first, last, "weekly")
    features = Settings.model_fields["features"].default
    data = build_training_set(market, features, [horizon], train_dates=train_dates, asofs=asofs)
    jobs = plan_jobs(
        data, asofs, [horizon], calendar=calendar, embargo_sessions=horizon, refit="monthly"
    )
    purged = [
        make_fit(
            data,
            job,
            calendar=calendar,
            embargo_sessions=horizon,
            half_life_sessions=settings.half_life_sessions,
        )
        for job in jobs
    ]
    leaky = [_every_earlier_row(data, job) for job in jobs]
    labels = compute_labels(market, asofs, [horizon])
    return LeakStudy(
        seed,
        *(_rank_ic(data, fits, labels, settings, seed) for fits in (purged, leaky)),
    )


def _every_earlier_row(data: TrainingSet, job: Job) -> Fit:
    """What a pipeline without purge learns from: asof before the decision, label whenever known."""
    known = data.labels.filter(pl.col("asof") < min(job.asofs), pl.col("label").is_not_null())
    rows, target = known["row"].to_numpy(), known["label"].to_numpy()
    return Fit(job, rows, target, np.ones(len(rows), dtype=np.float32))


def _rank_ic(
    data: TrainingSet,
    fits: Sequence[Fit],
    labels: pl.DataFrame,
    settings: LightGBMSettings,
    seed: int,
) -> float:
    parameters = lightgbm_parameters(settings, seed)
    fitted = [
        boost(data.matrix, data.names, fit, parameters, settings.num_iterations) for fit in fits
    ]
    scores = pl.concat(
        pl.DataFrame({"row": found.job.predict, "score": found.prediction}) for found in fitted
    ).join(data.keys, on="row")
    panel = labels.join(scores, on=["asof", "ticker"]).with_columns(status=pl.lit("ok"))
    ic = information_coefficient(panel, min_cross_section=10).filter(pl.col("status") == "judged")
    return float(ic["rank_ic"].mean())  # type: ignore[arg-type]


def _interval(values: Sequence[float]) -> str:
    from scipy.stats import t as student

    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values) - half:+.4f} … {np.mean(values) + half:+.4f}"
