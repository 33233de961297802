"""One hash over everything that changes a forecast, besides the window itself.

It tells apart what must not be mixed, and finds what may be read instead of scored again: step k of
a forecast has the same bits however many steps follow it, since its randomness belongs to (seed,
path, step) and no forward has a shape that depends on the number of steps. So a run with shorter
horizons finds its windows in the shards of a longer generation. Their fingerprint is made of the
same content with another number of steps; trying the numbers finds it, and no list has to be kept
that could be lost or torn (`longer_generations`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

import polars as pl

from engine.calendar import TradingCalendar
from engine.errors import UsageError
from engine.forecasters.forecaster import ForecasterSpec
from engine.forecasters.statistics import SCHEMA_VERSION
from engine.scoring.plan import WindowPlan, plan_windows
from engine.scoring.price_array import PriceArray
from engine.scoring.shard_store import MARK_LETTERS

__all__ = ["as_planned", "fingerprint", "fingerprint_of", "longer_generations", "renamed"]


def fingerprint(
    spec: ForecasterSpec, *, lookback: int, steps: int, seed: int, batch_size: int, threads: int
) -> tuple[str, dict[str, Any]]:
    """(sha256 hex, the content it was made of). Per-window hashes stand beside it in each shard.

    `steps` is the generated length, not the list of horizons: a shorter horizon is read from a
    longer generation (`engine.scoring.fingerprint`). The number of actors has no place here; the
    threads of one have, because a matrix product split over other threads may round differently.
    """
    content = {
        "version": 3,
        "statistics": SCHEMA_VERSION,
        **spec.identity(),
        "lookback": lookback,
        "steps": steps,
        "seed": seed,
        "batch_size": batch_size,
        "threads": threads,
    }
    return fingerprint_of(content), content


def fingerprint_of(content: Mapping[str, Any]) -> str:
    """sha256 hex of what `fingerprint` lists."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


MOST_STEPS = 4096  # of a forecaster that sets no limit itself
WINDOW = ("asof", "ticker", "hash")


def longer_generations(
    identity: Mapping[str, Any], marks: Collection[str], limit: int | None
) -> list[tuple[int, str]]:
    """(steps, fingerprint) of generations that go further than `identity`'s, shortest first.

    Parameters
    ----------
    identity
        What the run's own fingerprint is made of.
    marks
        Beginnings of the fingerprints that there are shards of.
    limit
        The longest generation whose first steps are those of a shorter one; None: any.
    """
    longest = MOST_STEPS if limit is None else limit
    found = []
    for steps in range(identity["steps"] + 1, longest + 1 if marks else 0):
        mark = fingerprint_of({**identity, "steps": steps})
        if mark[:MARK_LETTERS] in marks:
            found.append((steps, mark))
    return found


def renamed(
    missing: pl.DataFrame,
    prices: PriceArray,
    calendar: TradingCalendar,
    plan: WindowPlan,
    steps: int,
) -> pl.DataFrame:
    """asof, ticker, hash of missing windows as a generation of `steps` names them, and `own`, the
    hash that `plan` gives them: a window's hash covers the timestamps of its whole forecast.

    Empty if the calendar ends before such a forecast does.
    """
    asofs: list[date] = missing["asof"].unique().sort().to_list()
    try:
        longer = plan_windows(
            prices, calendar, asofs, lookback=plan.lookback, steps=steps, seed=plan.seed
        )
    except UsageError:
        return missing.select(*WINDOW, own="hash").clear()
    own = missing.select("asof", "ticker", own="hash")
    return longer.planned.select(*WINDOW).join(own, on=["asof", "ticker"])


def as_planned(found: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """The rows of `found` that `renamed` names, under the plan's own hashes."""
    rows = found.join(names, on=list(WINDOW), maintain_order="left")
    return rows.with_columns(hash="own").select(found.columns)
