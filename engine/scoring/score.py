"""The scoring stage from market to scores table.

1. `plan_windows` lists every (asof, ticker) and the hash of what the model would see.
2. `ShardStore.read` gives what earlier runs of the same fingerprint finished in this run's
   folder, `ScoreCache.fetch` what runs of other names did, `longer_generations` what either
   finished while forecasting further ahead.
3. `score_shards` computes the rest on Ray; with nothing left Ray is not even started.
4. `assemble_scores` reads the horizons from the statistics and accounts for every window;
   `assemble_levels` reads the bar predicted for the next session.

If a forward does not fit into memory, the batch size is halved for the whole run and everything
is scored under its new fingerprint: batches of two shapes never mix.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from engine.calendar import TradingCalendar
from engine.config.settings import ScoringSettings
from engine.data.market import Market
from engine.data.membership import only_members
from engine.errors import UsageError
from engine.forecasters.forecaster import ForecasterSpec
from engine.forecasters.statistics import LEVELS
from engine.scoring.bar_grid import generated_steps
from engine.scoring.cache import ScoreCache, open_cache
from engine.scoring.cluster import cluster_slots, is_private, ray_cluster
from engine.scoring.driver import (
    MemoryShortageError,
    Outcome,
    PoolError,
    Slots,
    score_shards,
    score_shards_here,
)
from engine.scoring.fingerprint import as_planned, fingerprint, longer_generations, renamed
from engine.scoring.plan import WindowPlan, cut_shards, plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.scores import (
    LEVELS_SCHEMA,
    MEASURES,
    assemble_levels,
    assemble_scores,
    level_steps,
)
from engine.scoring.shard_store import KEY, ShardStore, Stored
from engine.scoring.status import ScoringProgress

__all__ = ["Scored", "score_market"]

log = logging.getLogger(__name__)
MIN_BATCH = 16


@dataclass(frozen=True)
class Scored:
    """Scores and how they came about.

    Attributes
    ----------
    scores
        The scores table of the contract.
    fingerprint
        sha256 hex over everything but the windows.
    identity
        What the fingerprint was made of.
    counts
        Windows and shards planned, reused, computed, retried, thrown away.
    skipped
        Windows without a full history, by reason.
    failed
        Windows given up, by reason.
    dropped
        Rows of a given scores file that were left out, by reason.
    levels
        The bar predicted for the session after each asof (`levels.LEVELS_SCHEMA`); no rows from a
        forecaster that predicts closes only.
    """

    scores: pl.DataFrame
    fingerprint: str
    identity: dict[str, Any]
    counts: dict[str, int]
    skipped: dict[str, int]
    failed: dict[str, int]
    dropped: dict[str, int] = field(default_factory=dict)
    levels: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=LEVELS_SCHEMA))


def score_market(
    market: Market,
    asofs: Sequence[date],
    *,
    spec: ForecasterSpec,
    scoring: ScoringSettings,
    seed: int,
    shards: Path,
    console: Console,
    inline_shards: int = 0,
) -> Scored:
    """Score every candidate at every asof, computing only what `shards` does not hold yet.

    A ticker is a candidate while it is a member of the market's universe. Up to `inline_shards`
    missing shards are scored in this process and without Ray, to the same bits; nothing is tried
    again or set aside then.

    Raises `driver.PoolError` if no actor can work and OSError if shards cannot be written;
    what was committed until then is kept. Raises UsageError for horizons beyond the model.
    """
    calendar = market.calendar
    prices = PriceArray.from_bars(market.bars, timezone=calendar.zone)
    steps = generated_steps(calendar, asofs, scoring.horizons, prices.interval)
    context = getattr(spec, "max_context", None)
    if context is not None and steps > context:
        raise UsageError(
            f"scoring.horizons: {max(scoring.horizons)} sessions are {steps} bars, more than the "
            f"model's context of {context}"
        )
    if context is not None and scoring.lookback + steps > context > steps + 1:
        console.print(
            f"scoring.lookback {scoring.lookback} and {steps} steps are more than the model's "
            f"context of {context}: the last steps are decoded without a cache, several times as "
            f"slow; --scoring.lookback {context - steps} or less keeps it",
            highlight=False,
        )
    plan = plan_windows(prices, calendar, asofs, lookback=scoring.lookback, steps=steps, seed=seed)
    plan = replace(plan, windows=only_members(plan.windows, market.members))
    halvings = 0
    while True:
        job = _Job(plan, prices, calendar, spec, scoring, seed, steps, shards, inline_shards)
        try:
            scored = job.run(console)
        except MemoryShortageError as error:
            size = scoring.batch_size // 2
            if size < MIN_BATCH:
                raise
            log.warning("%s; the whole run goes on with scoring.batch_size %d", error, size)
            scoring = scoring.model_copy(update={"batch_size": size})
            spec = replace(spec, batch_size=size)  # type: ignore[type-var]
            halvings += 1
        else:
            counts = {**scored.counts, "batch_size": scoring.batch_size}
            return replace(scored, counts={**counts, "batch_halvings": halvings})


@dataclass(frozen=True)
class _Job:
    """One plan under one fingerprint."""

    plan: WindowPlan
    prices: PriceArray
    calendar: TradingCalendar
    spec: ForecasterSpec
    scoring: ScoringSettings
    seed: int
    steps: int
    shards: Path
    inline_shards: int = 0

    def run(self, console: Console) -> Scored:
        plan, scoring = self.plan, self.scoring
        mark, identity = fingerprint(
            self.spec,
            lookback=scoring.lookback,
            steps=self.steps,
            seed=self.seed,
            batch_size=scoring.batch_size,
            threads=scoring.cpus_per_actor,
        )
        store = ShardStore(scoring.shards or self.shards, mark)
        cache = open_cache(scoring.cache, scoring.cache_gb)
        found = [self._read(store, store.names())]
        missing = _missing(plan, found)
        if missing.height and cache:
            found.append(self._read(store, cache.fetch(missing, store)))
            missing = _missing(plan, found)
        before = missing.height
        if missing.height:
            found += self._read_longer(missing, store, cache, identity)
            missing = _missing(plan, found)
        reused = _shards(plan, found)
        outcome = Outcome()
        if missing.height:
            store.prepare()
            try:
                outcome = self._compute(missing, store, console)
            finally:
                if cache:
                    cache.add(store)
            found.append(self._read(store, store.names().difference(*(p.names for p in found))))
        elif cache:
            cache.add(store)
        finished = _joined(found)
        scores = assemble_scores(
            plan, finished, outcome.failed, horizons=scoring.horizons, form=scoring.score
        )
        planned = plan.planned.height
        if planned > missing.height:
            log.info(
                "%d of %d windows were scored before and reused", planned - missing.height, planned
            )
        return Scored(
            scores=scores,
            fingerprint=mark,
            identity=identity,
            counts={
                "windows_planned": planned,
                "windows_reused": planned - missing.height,
                "windows_from_longer": before - missing.height,
                "windows_computed": outcome.windows,
                "shards_reused": reused,
                "shards_computed": outcome.shards,
                "shards_damaged": sum(part.damaged for part in found),
                "retries": outcome.retries,
            },
            skipped=plan.skipped,
            failed=_counts(list(outcome.failed.values())),
            levels=assemble_levels(plan, finished),
        )

    def _read(self, store: ShardStore, names: Collection[str]) -> Stored:
        """Only the steps and the form that are asked for: a shard holds every step of both."""
        columns = [f"{self.scoring.score}_{name}" for name in MEASURES]
        columns += ["terminal_score", "last_close", "n_paths", *LEVELS]
        asked = self.plan.horizon_steps(self.scoring.horizons)["step"]
        steps = sorted({*asked, *level_steps(self.plan)})
        return store.read(names, columns=columns, steps=steps)

    def _read_longer(
        self,
        missing: pl.DataFrame,
        store: ShardStore,
        cache: ScoreCache | None,
        identity: dict[str, Any],
    ) -> list[Stored]:
        """Missing windows in shards of longer generations, under this plan's hashes."""
        marks = store.marks() | (cache.marks() if cache else set())
        found: list[Stored] = []
        limit = self.spec.nested_steps(self.scoring.lookback)
        for steps, mark in longer_generations(identity, marks, limit):
            names = renamed(missing, self.prices, self.calendar, self.plan, steps)
            longer = ShardStore(store.folder, mark)
            if cache:
                cache.fetch(names, longer)
            part = self._read(longer, longer.names())
            if part.frame is not None:
                part = replace(part, frame=as_planned(part.frame, names))
            found.append(part)
            missing = _without(missing, part.frame)
            if missing.is_empty():
                break
        return found

    def _compute(self, missing: pl.DataFrame, store: ShardStore, console: Console) -> Outcome:
        scoring, prices = self.scoring, self.prices
        size = max(1, scoring.batch_size // scoring.sampling.paths)
        shards = cut_shards(self.plan, missing, size)
        if len(shards) <= self.inline_shards:
            with ScoringProgress(console, missing.height) as shown:
                return score_shards_here(
                    shards,
                    spec=self.spec,
                    prices=prices,
                    lookback=scoring.lookback,
                    store=store,
                    threads=scoring.cpus_per_actor,
                    progress=shown.hear,
                )
        private = is_private(scoring.ray_address)
        actors = min(default_actors(scoring), len(shards)) if private else scoring.actors
        log.info(
            "scoring %d windows in %d shards on %s",
            missing.height,
            len(shards),
            f"{actors} actors" if actors else "as many actors as the cluster has room for",
        )
        with (
            ScoringProgress(console, missing.height) as progress,
            ray_cluster(
                scoring.ray_address,
                cpus=(actors or 1) * scoring.cpus_per_actor,
                object_bytes=prices.nbytes,
            ),
        ):
            if private and not cluster_slots(scoring.cpus_per_actor, scoring.gpus_per_actor):
                raise PoolError(
                    f"no scoring actor could be started: this machine has no room for "
                    f"scoring.gpus_per_actor {scoring.gpus_per_actor:g}"
                )
            return score_shards(
                shards,
                spec=self.spec,
                prices=prices,
                lookback=scoring.lookback,
                store=store,
                slots=Slots(
                    actors,
                    cpus=scoring.cpus_per_actor,
                    gpus=scoring.gpus_per_actor,
                    timeout_s=scoring.timeout_s,
                    start_timeout_s=scoring.start_timeout_s,
                ),
                max_retries=scoring.max_retries,
                progress=progress.hear,
            )


def default_actors(scoring: ScoringSettings) -> int:
    """As many actors as this machine has slots, unless the configuration says."""
    return scoring.actors or max(1, (os.cpu_count() or 1) // scoring.cpus_per_actor)


def _joined(found: Sequence[Stored]) -> pl.DataFrame | None:
    frames = [part.frame for part in found if part.frame is not None]
    if len(frames) < 2:
        return frames[0] if frames else None
    return pl.concat(frames).unique(list(KEY), keep="first", maintain_order=True)


def _missing(plan: WindowPlan, found: Sequence[Stored]) -> pl.DataFrame:
    return _without(plan.planned, _joined(found))


def _without(windows: pl.DataFrame, known: pl.DataFrame | None) -> pl.DataFrame:
    """The windows that no row of `known` belongs to, in order."""
    if known is None:
        return windows
    key = ["asof", "ticker", "hash"]
    return windows.join(known.select(key).unique(), on=key, how="anti", maintain_order="left")


def _shards(plan: WindowPlan, found: Sequence[Stored]) -> int:
    """Shards that hold a window of the plan."""
    known = _joined(found)
    if known is None:
        return 0
    used = known.join(plan.planned, on=["asof", "ticker", "hash"], how="semi")
    return int(used["shard"].n_unique())


def _counts(reasons: list[str]) -> dict[str, int]:
    return {reason: reasons.count(reason) for reason in sorted(set(reasons))}
