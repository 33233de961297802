"""Shards scored in this process: a handful is done before Ray would have started."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.forecasters.forecaster import ForecasterSpec
from engine.scoring.actor import ScoringActor
from engine.scoring.driver import Outcome
from engine.scoring.pool import PoolError, out_of_memory, reason_of
from engine.scoring.price_array import PriceArray
from engine.scoring.shard import Shard
from engine.scoring.shard_store import ShardStore
from engine.scoring.status import Status

__all__ = ["score_shards_here"]


def score_shards_here(
    shards: Sequence[Shard],
    *,
    spec: ForecasterSpec,
    prices: PriceArray,
    lookback: int,
    store: ShardStore,
    threads: int,
    progress: Callable[[Status], None] = lambda status: None,
) -> Outcome:
    """Score and commit every shard with the actor's own code, as many threads and so its bits.

    Nothing is tried twice and nothing isolated: raises whatever the forecaster raises, and
    `PoolError` if it cannot be loaded.
    """
    actor = ScoringActor(lookback, threads, store.fingerprint)
    try:
        actor.load(spec, prices)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise PoolError(f"the forecaster cannot be loaded: {reason_of(error)}") from error
    outcome = Outcome()
    for shard in shards:
        reply = actor.score([shard])
        if reply.windows:
            store.commit(shard.id, reply.content)
            outcome.shards += 1
        outcome.windows += reply.windows
        outcome.failed |= {(asof, ticker): reason for asof, ticker, reason in reply.lost}
        progress(Status(outcome.windows, outcome.shards, 0, len(outcome.failed), ()))
    return outcome
