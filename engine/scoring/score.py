"""The scoring stage from market to scores table.

1. `plan_windows` lists every (asof, ticker) and the hash of what the model would see.
2. `ShardStore.read` gives what earlier runs of the same fingerprint finished.
3. `score_shards` computes the rest on Ray; with nothing left Ray is not even started.
4. `assemble_scores` reads the horizons from the statistics and accounts for every window.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from engine.calendar import TradingCalendar
from engine.config.settings import ScoringSettings
from engine.progress import WorkProgress
from engine.scoring.cluster import ray_cluster
from engine.scoring.driver import Outcome, score_shards
from engine.scoring.fingerprint import fingerprint
from engine.scoring.forecaster import ForecasterSpec
from engine.scoring.membership import only_members
from engine.scoring.plan import WindowPlan, cut_shards, plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.scores import assemble_scores
from engine.scoring.shard_store import ShardStore

__all__ = ["Scored", "score_market"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """Scores and how they came about.

    Attributes:
        scores: the scores table of the contract.
        fingerprint: sha256 hex over everything but the windows.
        identity: what the fingerprint was made of.
        counts: windows and shards planned, reused, computed, retried, thrown away.
        skipped: windows without a full history, by reason.
        failed: windows given up, by reason.
        dropped: rows of a given scores file that were left out, by reason.
    """

    scores: pl.DataFrame
    fingerprint: str
    identity: dict[str, Any]
    counts: dict[str, int]
    skipped: dict[str, int]
    failed: dict[str, int]
    dropped: dict[str, int] = field(default_factory=dict)


def score_market(
    bars: pl.DataFrame,
    calendar: TradingCalendar,
    asofs: Sequence[date],
    *,
    spec: ForecasterSpec,
    scoring: ScoringSettings,
    seed: int,
    shards: Path,
    console: Console,
    members: pl.DataFrame | None = None,
) -> Scored:
    """Score every candidate at every asof, computing only what `shards` does not hold yet.

    With `members` (ticker, from, to) a ticker is a candidate only while it is a member.

    Raises `driver.PoolError` if no actor can work and OSError if shards cannot be written;
    what was committed until then is kept.
    """
    steps = max(scoring.horizons)
    prices = PriceArray.from_bars(bars)
    plan = plan_windows(prices, calendar, asofs, lookback=scoring.lookback, steps=steps, seed=seed)
    plan = replace(plan, windows=only_members(plan.windows, members))
    mark, identity = fingerprint(
        spec,
        lookback=scoring.lookback,
        steps=steps,
        seed=seed,
        batch_size=scoring.batch_size,
        threads=scoring.cpus_per_actor,
    )
    store = ShardStore(shards, mark)
    known, torn = store.read()
    missing = _missing(plan, known)
    outcome = Outcome()
    if missing.height:
        outcome = _compute(plan, missing, prices, spec, scoring, store, console)
        known, _ = store.read()
    scores = assemble_scores(
        plan, known, outcome.failed, horizons=scoring.horizons, form=scoring.score
    )
    planned = plan.planned.height
    reused = planned - missing.height
    if reused:
        log.info("%d of %d windows were scored before and reused", reused, planned)
    return Scored(
        scores=scores,
        fingerprint=mark,
        identity=identity,
        counts={
            "windows_planned": planned,
            "windows_reused": reused,
            "windows_computed": outcome.windows,
            "shards_reused": _shards(known) - outcome.shards,
            "shards_computed": outcome.shards,
            "shards_damaged": torn,
            "retries": outcome.retries,
        },
        skipped=plan.skipped,
        failed=_counts(list(outcome.failed.values())),
    )


def default_actors(scoring: ScoringSettings) -> int:
    """As many actors as the machine has slots, unless the configuration says."""
    return scoring.actors or max(1, (os.cpu_count() or 1) // scoring.cpus_per_actor)


def _compute(
    plan: WindowPlan,
    missing: pl.DataFrame,
    prices: PriceArray,
    spec: ForecasterSpec,
    scoring: ScoringSettings,
    store: ShardStore,
    console: Console,
) -> Outcome:
    size = max(1, scoring.batch_size // scoring.sampling.paths)
    shards = cut_shards(plan, missing, size)
    actors = min(default_actors(scoring), len(shards))
    log.info("scoring %d windows in %d shards on %d actors", missing.height, len(shards), actors)
    with (
        WorkProgress(console, "scoring", missing.height, "windows") as progress,
        ray_cluster(
            scoring.ray_address,
            cpus=actors * scoring.cpus_per_actor,
            object_bytes=prices.values.nbytes + prices.factor.nbytes + prices.dates.nbytes,
        ),
    ):
        return score_shards(
            shards,
            spec=spec,
            prices=prices,
            lookback=scoring.lookback,
            store=store,
            actors=actors,
            cpus_per_actor=scoring.cpus_per_actor,
            gpus_per_actor=scoring.gpus_per_actor,
            timeout_s=scoring.timeout_s,
            max_retries=scoring.max_retries,
            progress=progress.update,
        )


def _missing(plan: WindowPlan, known: pl.DataFrame | None) -> pl.DataFrame:
    if known is None:
        return plan.planned
    done = known.select("asof", "ticker", "hash").unique()
    return plan.planned.join(done, on=["asof", "ticker", "hash"], how="anti", maintain_order="left")


def _shards(known: pl.DataFrame | None) -> int:
    return 0 if known is None else int(known["shard"].n_unique())


def _counts(reasons: list[str]) -> dict[str, int]:
    return {reason: reasons.count(reason) for reason in sorted(set(reasons))}
