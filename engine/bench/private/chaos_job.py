"""A scoring run that notes in a folder what its actors do, so that others can disturb it.

`python -m engine.bench.private.chaos_job JOB.json` runs one; `JOB.json` holds the fields of `Job`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console

from engine.calendar import TradingCalendar
from engine.config import Settings
from engine.config.settings import ModelSettings, SamplingSettings, ScoringSettings
from engine.data.market import Market
from engine.decisions.scores import score_decisions
from engine.files import write_frame, write_json
from engine.forecasters.forecaster import Forecaster, ForecasterSpec, WindowPanel
from engine.forecasters.kronos import KronosSpec
from engine.forecasters.rules import RuleSpec
from engine.run_folder import RunFolder
from engine.scoring.actor import WARM_UP
from engine.scoring.cluster import shut_out_others
from engine.scoring.score import Scored

__all__ = [
    "Diary",
    "Job",
    "ObservedSpec",
    "committed",
    "make_bars",
    "run_job",
    "start_job",
    "wait_for",
]

START, END = date(2015, 1, 2), date(2019, 12, 31)
LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class Job:
    """What to score, and where.

    Attributes
    ----------
    folder
        Gets `shards/`, `scores.parquet`, `done.json` and the diary.
    model
        Fake (momentum that takes `shard_s` seconds a shard) or nano.
    tickers, asofs
        How many windows, their product.
    shard
        Windows of a shard.
    actors
        How many; on a cluster of nodes as many as it has room for.
    nodes
        0: Ray as it comes; else a cluster of this many nodes with one core each.
    drop_at
        Share of the shards after which the last node is killed.
    join_at
        Share after which a fresh one joins.
    """

    folder: str
    model: str = "fake"
    tickers: int = 40
    asofs: int = 40
    shard: int = 16
    actors: int = 2
    shard_s: float = 0.2
    nodes: int = 0
    drop_at: float | None = None
    join_at: float | None = None

    @property
    def shards(self) -> int:
        """Shards of the whole job."""
        return -(-self.tickers * self.asofs // self.shard)


class Diary:
    """What actors did: each notes its process, and every shard it has finished computing with
    the node it did so on."""

    def __init__(self, folder: Path) -> None:
        self._starts = folder / "starts.txt"
        self._shards = folder / "computed.txt"
        self._joined = folder / "joined.txt"
        folder.mkdir(parents=True, exist_ok=True)

    def started(self) -> None:
        """This process is an actor that will score."""
        _append(self._starts, str(os.getpid()))

    def computed(self, panel: WindowPanel, asof: np.ndarray) -> None:
        """A shard has been computed; nobody has heard of it yet."""
        import ray

        text = "".join(f"{t}{d}" for t, d in zip(panel.tickers, asof, strict=True))
        shard = hashlib.sha256(text.encode()).hexdigest()[:16]
        _append(self._shards, f"{shard} {len(panel)} {ray.get_runtime_context().get_node_id()}")

    def actors(self) -> list[int]:
        """Processes of the actors that are alive."""
        return [int(pid) for pid in _lines(self._starts) if Path(f"/proc/{pid}").exists()]

    def counts(self) -> Counter[str]:
        """How often each shard was computed."""
        return Counter(line.split()[0] for line in _lines(self._shards))

    def joined(self, node: str) -> None:
        """A node has joined late."""
        _append(self._joined, node)

    @property
    def late_node(self) -> str | None:
        """The node that has joined late."""
        return next(iter(_lines(self._joined)), None)

    def windows_on(self, node: str) -> int:
        """Windows computed on a node."""
        entries = (line.split() for line in _lines(self._shards))
        return sum(int(windows) for _, windows, where in entries if where == node)


@dataclass(frozen=True)
class ObservedSpec:
    """Another spec, with a diary; the numbers are that one's.

    With `late_node_after` an actor waits after so many shards, for as long as a busy machine may
    take to start one, until the node that joins late has computed a shard too.
    """

    inner: ForecasterSpec
    folder: str
    shard_s: float = 0.0
    late_node_after: int | None = None

    def identity(self) -> dict[str, Any]:
        return self.inner.identity()

    def nested_steps(self, lookback: int) -> int | None:
        return self.inner.nested_steps(lookback)

    def build(self, threads: int) -> Forecaster:
        diary = Diary(Path(self.folder))
        forecaster = self.inner.build(threads)
        diary.started()
        return _Observed(forecaster, diary, self.shard_s, self.late_node_after)


class _Observed:
    def __init__(
        self, forecaster: Forecaster, diary: Diary, shard_s: float, late_node_after: int | None
    ) -> None:
        self._forecaster = forecaster
        self._diary = diary
        self._shard_s = shard_s
        self._late_node_after = late_node_after

    def score(self, panel: WindowPanel, asof: np.ndarray) -> pl.DataFrame:
        frame = self._forecaster.score(panel, asof)
        if WARM_UP not in panel.tickers:
            time.sleep(self._shard_s)
            self._await_late_node()
            self._diary.computed(panel, asof)
        return frame

    def _await_late_node(self) -> None:
        import ray

        after = self._late_node_after
        if after is None or self._diary.counts().total() < after:
            return
        own, diary = ray.get_runtime_context().get_node_id(), self._diary

        def at_work() -> bool:
            late = diary.late_node
            return late is not None and (late == own or diary.windows_on(late) > 0)

        wait_for(at_work, seconds=LONGEST_WAIT_S)
        self._late_node_after = None


def run_job(job: Job, console: Console) -> None:
    """Score the job's windows, resuming what its folder holds, and write the scores."""
    folder = Path(job.folder)
    calendar = TradingCalendar("XNYS")
    bars = make_bars(calendar, job.tickers)
    sessions = calendar.sessions(date(2018, 1, 2), date(2019, 6, 28))
    paths = 1 if job.model == "fake" else 4
    scoring = ScoringSettings(
        lookback=64,
        horizons=[5, 10],
        batch_size=max(16, job.shard * paths),
        sampling=SamplingSettings(paths=max(paths, 16 // job.shard)),
        actors=None if job.nodes else job.actors,
        timeout_s=2 * LONGEST_WAIT_S,
        cache="off",
    )
    inner = (
        RuleSpec("momentum")
        if job.model == "fake"
        else KronosSpec.from_settings(ModelSettings(), scoring)
    )

    def score() -> Scored:
        return score_decisions(
            Market.from_bars(bars, calendar),
            Settings(scoring=scoring),
            sessions[:: len(sessions) // job.asofs][: job.asofs],
            spec=ObservedSpec(
                inner,
                str(folder),
                job.shard_s if job.model == "fake" else 0.0,
                None if job.join_at is None else job.shards // 2,
            ),
            folder=RunFolder(folder.parent, folder.name),
            console=console,
        )

    scored, joined = _on_nodes(job, score) if job.nodes else (score(), None)
    write_frame(folder / "scores.parquet", scored.scores)
    on_joined = Diary(folder).windows_on(joined) if joined else None
    done = {**scored.counts, "failed": scored.failed, "windows_on_joined": on_joined}
    write_json(folder / "done.json", done)


def _on_nodes(job: Job, score: Callable[[], Scored]) -> tuple[Scored, str | None]:
    """The scores on a cluster of one-core nodes, one of which dies while another joins; the id of
    that one. Scoring has a thread of its own: Ray starts nodes in the main thread only."""
    shut_out_others()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    joined: str | None = None
    try:
        others = [cluster.add_node(**node) for _ in range(job.nodes - 1)]
        ray.init(address=cluster.address, log_to_driver=False, logging_level=40)
        with ThreadPoolExecutor(1) as thread:
            scoring = thread.submit(score)
            if job.drop_at is not None and _reached(job, job.drop_at, scoring):
                cluster.remove_node(others[-1], allow_graceful=False)
            if job.join_at is not None and _reached(job, job.join_at, scoring):
                joined = cluster.add_node(**node).node_id
                Diary(Path(job.folder)).joined(joined)
            return scoring.result(), joined
    finally:
        ray.shutdown()
        cluster.shutdown()


def _reached(job: Job, share: float, scoring: Future[Scored]) -> bool:
    """Whether that share of the shards was committed before scoring ended."""
    folder = Path(job.folder)
    wait_for(lambda: scoring.done() or committed(folder) >= share * job.shards)
    return not scoring.done()


def committed(folder: Path) -> int:
    """Shard files in a job's folder."""
    return len(list((folder / "shards").glob("[!.]*.parquet")))


def wait_for(
    condition: Callable[[], bool], *, stop: threading.Event | None = None, seconds: float = 600.0
) -> bool:
    """Whether the condition came true before `stop` was set or the time was up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not (stop and stop.is_set()):
        if condition():
            return True
        time.sleep(0.01)
    return False


def make_bars(calendar: TradingCalendar, tickers: int) -> pl.DataFrame:
    """Random daily bars of `tickers` names, 2015 to 2019."""
    days = calendar.sessions(START, END)
    frames = []
    for number in range(tickers):
        rng = np.random.default_rng([7, number])
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, len(days))))
        opening = close * np.exp(rng.normal(0, 0.005, len(days)))
        volume = rng.integers(1_000, 9_000, len(days)).astype(float)
        frame = pl.DataFrame({"date": days, "open": opening, "close": close, "volume": volume})
        frames.append(
            frame.with_columns(
                ticker=pl.lit(f"T{number:04d}"),
                high=pl.max_horizontal("open", "close") * 1.01,
                low=pl.min_horizontal("open", "close") * 0.99,
                amount=pl.col("volume") * pl.col("close"),
                adj_factor=pl.lit(1.0),
            )
        )
    return pl.concat(frames)


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:  # O_APPEND: lines of many actors stay whole
        file.write(line + "\n")


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def start_job(job: Job) -> list[str]:
    """The command that runs a job in a process of its own."""
    path = Path(job.folder) / "job.json"
    write_json(path, asdict(job))
    return [sys.executable, "-m", "engine.bench.private.chaos_job", str(path)]


if __name__ == "__main__":
    run_job(Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), Console())
