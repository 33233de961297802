"""A quarter of live trading in minutes, killed fifty times: the same positions and cash."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from engine.bench.private.fake_faults import Faults
from engine.bench.private.killer import Killer
from engine.bench.private.replay import SHORTEST, Outcome, Replay, World
from engine.bench.result import BenchResult
from engine.config.settings import DataSettings
from engine.data.market import load_market
from engine.errors import UsageError

__all__ = ["disturbed", "run"]

SUMMARY = "the live loop over 63 replayed sessions, killed 50 times, with a faulty broker"


def disturbed(
    world: World, root: Path, broker: str, *, kills: int, seed: int
) -> tuple[Outcome, Outcome]:
    """The replay left alone, and the same one under kills and the broker's faults."""
    whole = Replay(world, root / f"{broker}-whole", broker, seed=seed).run()
    killer = Killer(kills, len(world.sessions), seed, whole.seconds / len(world.sessions))
    faults = Faults(seed=seed, share=0.1, hangs=0.01)
    return whole, Replay(world, root / f"{broker}-killed", broker, faults, seed).run(killer)


def run(arguments: list[str]) -> BenchResult:
    """Both brokers."""
    options = _options(arguments)
    if options.sessions < SHORTEST:
        raise UsageError(f"engine.bench quarter: --sessions must be {SHORTEST} or more")
    source = DataSettings() if options.path is None else _parquet(options.path)
    bars = load_market(source).bars
    root = Path(tempfile.mkdtemp(prefix="engine-quarter-"))
    rows: list[list[object]] = []
    try:
        world = World.make(root / "bars.parquet", bars, options.sessions)
        for broker in options.brokers:
            whole, killed = disturbed(world, root, broker, kills=options.kills, seed=options.seed)
            rows += [_row(broker, outcome, whole) for outcome in (whole, killed)]
    finally:
        shutil.rmtree(root, ignore_errors=True)
    first, last = world.sessions[0], world.sessions[-1]
    return BenchResult(
        name="quarter",
        columns=[
            "broker",
            "sessions",
            "orders",
            "kills",
            "faults",
            "halted sessions",
            "positions and cash",
            "orders sent twice",
            "orders while halted",
            "keys in files",
            "seconds",
        ],
        rows=rows,
        notes=[
            f"Real bars of {bars['ticker'].n_unique()} stocks, {first} to {last}, momentum, "
            "rebalanced daily; each broker once undisturbed and once killed with SIGKILL at random "
            "moments and started again by the same command.",
            f"Tripped on purpose: the kill switch from {world.halt} to before {world.resume}; no "
            f"bars of {world.missing}, so no quotes that day and stale data for the next.",
            "alpaca: the real client against a stand-in on loopback; orders are filled in parts, a "
            "twentieth of the (ticker, day) is refused, and in the killed run every tenth request "
            "meets a 429, 5xx, reset, lost answer, garbage, late answer or an outdated order.",
            "Positions and cash are those at the broker, compared to the last digit, as are the "
            "orders in the state. Sent twice: any order that filled beyond its plan or that the "
            "state does not know.",
        ],
    )


def _row(broker: str, found: Outcome, whole: Outcome) -> list[object]:
    equal = (
        found.positions == whole.positions == found.state_positions
        and found.cash == whole.cash
        and found.orders == whole.orders
    )
    return [
        f"{broker}, {'undisturbed' if found is whole else 'killed'}",
        len({order[0] for order in found.orders}) + len(found.halted),
        len(found.broker_orders),
        found.kills,
        sum(found.faults.values()),
        len(found.halted),
        "–" if found is whole else ("equal" if equal else "DIFFERENT"),
        len(found.doubled),
        len(found.while_halted),
        len(found.secrets),
        round(found.seconds, 1),
    ]


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m engine.bench quarter", allow_abbrev=False)
    parser.add_argument("--sessions", type=int, default=63)
    parser.add_argument("--kills", type=int, default=50, help="of each broker's disturbed run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--brokers", nargs="+", default=["paper", "alpaca"], choices=["paper", "alpaca"]
    )
    parser.add_argument("--path", type=Path, help="Parquet of daily bars; none: the embedded ones")
    return parser.parse_args(arguments)


def _parquet(path: Path) -> DataSettings:
    return DataSettings(source="parquet", path=path)
