"""One actor: one forecaster pinned to one slot."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from engine.forecasters.forecaster import Forecaster, ForecasterSpec, WindowPanel
from engine.scoring.plan import Shard
from engine.scoring.price_array import PriceArray
from engine.scoring.shard_store import encode_shards

__all__ = ["WARM_UP", "Health", "Place", "Reply", "ScoringActor"]

WARM_UP = "WARM-UP"
WARM_UP_BARS = 16
NOT_FINITE = "forecast is not finite"
INCOMPLETE = "forecast lacks steps"


@dataclass(frozen=True)
class Place:
    """Where an actor runs."""

    pid: int
    node: str
    host: str


@dataclass(frozen=True)
class Health:
    """How an actor does.

    Attributes
    ----------
    windows
        Windows it has scored.
    seconds
        Time it spent on them.
    memory
        Largest resident memory of its process, bytes.
    gpu_memory
        Largest memory that torch took on its GPU, bytes; None without one.
    batch_size
        Rows of one forward; None if the forecaster has no such thing.
    """

    windows: int
    seconds: float
    memory: int
    gpu_memory: int | None
    batch_size: int | None

    @property
    def windows_per_s(self) -> float | None:
        """Windows per second of scoring."""
        return self.windows / self.seconds if self.seconds else None


@dataclass(frozen=True)
class Reply:
    """What an actor made of one call.

    Attributes
    ----------
    content
        Parquet file of the statistics; empty if no window has a forecast.
    windows
        Windows in it.
    lost
        (asof as ISO text, ticker, reason) of windows without a usable forecast.
    seconds
        Time the call took.
    health
        The actor's report after it.
    """

    content: bytes
    windows: int
    lost: tuple[tuple[str, str, str], ...]
    seconds: float
    health: Health


class ScoringActor:
    """Holds a forecaster and the shared price array; scores one call at a time.

    Turned into a Ray actor by the driver. Being placed and being loaded are two steps, so that
    the driver can tell a cluster without room from a model that does not load. Torch's thread
    count equals the slot's cores: two actors that each take every core run slower than one.
    """

    def __init__(self, lookback: int, threads: int, fingerprint: str) -> None:
        self._lookback = lookback
        self._threads = threads
        self._fingerprint = fingerprint
        self._windows = 0
        self._seconds = 0.0

    def place(self) -> Place:
        """Answers as soon as the actor has its slot."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return Place(os.getpid(), node, socket.gethostname())

    def load(self, spec: ForecasterSpec, prices: PriceArray) -> Health:
        """Build the forecaster and let it forecast once; raises what either raises."""
        self._prices = prices
        self._batch_size = getattr(spec, "batch_size", None)
        self._forecaster = spec.build(self._threads)
        warm_up(self._forecaster, self._lookback)
        return self.health()

    def health(self) -> Health:
        """The report that also goes with every reply."""
        return Health(
            windows=self._windows,
            seconds=self._seconds,
            memory=_resident_bytes(),
            gpu_memory=_gpu_bytes(),
            batch_size=self._batch_size,
        )

    def score(self, shards: Sequence[Shard]) -> Reply:
        """Per-step statistics of every window of the shards, as the file to be committed."""
        started = time.perf_counter()
        frames = [
            self._forecaster.score(
                shard.panel(self._prices, self._lookback), shard.asof(self._prices)
            )
            for shard in shards
        ]
        keys = self._keys(shards)
        found, lost = _usable(keys, pl.concat(frames))
        content = encode_shards(found, self._fingerprint) if found.height else b""
        windows = keys.height - len(lost)
        seconds = time.perf_counter() - started
        self._windows += windows
        self._seconds += seconds
        return Reply(content, windows, lost, seconds, self.health())

    def _keys(self, shards: Sequence[Shard]) -> pl.DataFrame:
        """asof, ticker, hash, shard and steps of every window that is asked for."""
        return pl.DataFrame(
            {
                "asof": pl.Series(np.concatenate([s.asof(self._prices) for s in shards])).cast(
                    pl.Date
                ),
                "ticker": [self._prices.tickers[i] for s in shards for i in s.ticker_ids],
                "hash": [h for s in shards for h in s.hashes],
                "shard": [s.id for s in shards for _ in range(len(s))],
                "steps": [s.future.shape[1] for s in shards for _ in range(len(s))],
            },
            schema_overrides={"steps": pl.UInt32},
        )


def warm_up(forecaster: Forecaster, lookback: int) -> None:
    """One step of forecast for made-up bars, outside any shard's deadline.

    On a GPU with the run's own lookback, to find out whether its memory is enough; elsewhere
    a few bars do, because a full forward would cost as much as a shard.
    """
    bars = lookback if _gpu_bytes() is not None else min(lookback, WARM_UP_BARS)
    days = np.datetime64("2000-01-03") + np.arange(bars + 1)
    close = 100.0 + np.sin(np.arange(bars))
    volume = 1_000.0 + np.cos(np.arange(bars))
    values = np.stack([close, close + 1, close - 1, close, volume, volume * close], axis=1)
    panel = WindowPanel(
        tickers=(WARM_UP,),
        values=values[None].astype(np.float32),
        stamps=days[None, :-1],
        future=days[None, -1:],
        seeds=np.zeros(1, dtype=np.uint64),
    )
    forecaster.score(panel, days[-2:-1])


def _usable(
    keys: pl.DataFrame, frame: pl.DataFrame
) -> tuple[pl.DataFrame, tuple[tuple[str, str, str], ...]]:
    """(rows of windows with a finite number at every step, the other windows with reasons)."""
    whole = _whole(keys, frame)
    return (whole, ()) if whole is not None else _sorted_out(keys, frame)


def _whole(keys: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame | None:
    """All rows with their keys, if every window has each of its steps in order, all finite.

    That is how it should be, and ten times faster than sorting out what is not.
    """
    steps = keys["steps"].to_numpy()
    if frame.height != steps.sum():
        return None
    rows = keys.drop("steps")[np.repeat(np.arange(len(steps)), steps)]
    expected = np.arange(frame.height) - np.repeat(np.cumsum(steps) - steps, steps) + 1
    scores = frame.select(name for name in frame.columns if name.endswith("_score"))
    good = (
        (frame["ticker"] == rows["ticker"]).all()
        and (frame["asof"] == rows["asof"]).all()
        and np.array_equal(frame["step"].to_numpy(), expected)
        and all(score.null_count() == 0 and score.is_finite().all() for score in scores)
    )
    return rows.hstack(frame.drop("asof", "ticker")) if good else None


def _sorted_out(
    keys: pl.DataFrame, frame: pl.DataFrame
) -> tuple[pl.DataFrame, tuple[tuple[str, str, str], ...]]:
    window = ["asof", "ticker"]
    rows = keys.join(frame, on=window, how="inner", maintain_order="left")
    scores = [pl.col(name) for name in frame.columns if name.endswith("_score")]
    finite = pl.all_horizontal(score.is_finite().fill_null(False) for score in scores)
    judged = rows.group_by(window).agg(
        finite=finite.all(), whole=pl.col("step").n_unique() == pl.col("steps").first()
    )
    good = judged.filter("finite", "whole").select(window)
    found = rows.join(good, on=window, how="semi", maintain_order="left").drop("steps")
    bad = keys.join(good, on=window, how="anti").join(judged, on=window, how="left")
    lost = tuple(
        (asof.isoformat(), ticker, INCOMPLETE if finite and not whole else NOT_FINITE)
        for asof, ticker, finite, whole in bad.select(*window, "finite", "whole").iter_rows()
    )
    return found, lost


def _resident_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _gpu_bytes() -> int | None:
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())
