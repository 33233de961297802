"""The trials of a folder of runs: how many strategies were tried before one was shown.

1. `strategy_identity` says what makes two strategies the same trial
2. `record_trials` writes what a run tried, its Sharpe and its daily returns into
   `<run.dir>/registry.duckdb`
3. `TrialCount` says how many distinct trials were judged on overlapping dates of the same data
4. `deflated` turns both into the deflated Sharpe ratio and the probability of overfitting

The count is a lower bound: trials made in another folder, on a changed copy of the data, or while
the registry could not be written are not in it.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from backtest.statistics.overfitting import deflation, shared_overfitting
from backtest.statistics.performance import period_sharpe
from engine.config import Settings
from engine.config.settings import StrategySettings
from engine.decisions.strategies import grid_points

if TYPE_CHECKING:
    import duckdb

__all__ = [
    "Trial",
    "TrialCount",
    "deflated",
    "record_trials",
    "scores_hash",
    "strategy_identity",
    "strategy_source",
]

log = logging.getLogger(__name__)
FILE = "registry.duckdb"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
    data_hash VARCHAR, fingerprint VARCHAR, strategy VARCHAR, costs VARCHAR, run VARCHAR,
    first_asof DATE, last_asof DATE, sharpe DOUBLE, recorded TIMESTAMP,
    PRIMARY KEY (data_hash, fingerprint, strategy, costs, first_asof, last_asof));
CREATE TABLE IF NOT EXISTS returns (
    data_hash VARCHAR, fingerprint VARCHAR, strategy VARCHAR, costs VARCHAR,
    first_asof DATE, last_asof DATE, date DATE, net DOUBLE);
"""
_KEY = "data_hash = ? AND fingerprint = ? AND strategy = ? AND costs = ?"
_SAME = f"{_KEY} AND first_asof = ? AND last_asof = ?"
_WAIT_S = 3.0


@dataclass(frozen=True)
class Trial:
    """One strategy on one set of scores, as it was judged.

    Attributes
    ----------
    data_hash
        Of the bars.
    scores
        The scores' fingerprint; for scores from a file, the hash of their content.
    strategy
        Everything that makes weights of scores: name, parameters, schedule, horizons.
    costs
        The cost settings.
    run
        The run's name.
    first_asof, last_asof
        The judged dates.
    returns
        date, net: daily returns of its portfolio.
    """

    data_hash: str
    scores: str
    strategy: Mapping[str, Any]
    costs: Mapping[str, Any]
    run: str
    first_asof: date
    last_asof: date
    returns: pl.DataFrame

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes it a trial of its own."""
        return (self.data_hash, self.scores, _canonical(self.strategy), _canonical(self.costs))


@dataclass(frozen=True)
class TrialCount:
    """Trials of the same data on overlapping dates.

    Attributes
    ----------
    recorded
        Distinct (scores, strategy, costs) in the registry, this one included.
    sharpes
        Their Sharpe ratios a period, where they have one.
    overfitting
        PBO of their daily returns on common sessions; None under ten trials.
    problem
        Why the registry could not be used, or None.
    """

    recorded: int
    sharpes: tuple[float, ...]
    overfitting: float | None
    problem: str | None = None


def scores_hash(scores: pl.DataFrame) -> str:
    """SHA-256 of the judged content of a scores table."""
    columns = scores.select("asof", "ticker", "horizon", "score").sort("asof", "ticker", "horizon")
    return hashlib.sha256(columns.hash_rows(seed=0).to_numpy().tobytes()).hexdigest()


def strategy_identity(
    settings: Settings, parameters: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What makes two strategies the same trial: name, parameters, a user's own source, and what
    the simulation allows where it is not the default.

    `parameters` are those of one grid point; None: the run's own, with its grid.
    """
    strategy = settings.strategy
    if parameters is None:
        searched = {"grid": strategy.grid, "selection": settings.selection.model_dump()}
        parameters = strategy.parameters | (searched if strategy.grid else {})
    changed = settings.simulation.model_dump(exclude_defaults=True)
    source = strategy_source(strategy)
    return {
        "name": strategy.name,
        **parameters,
        **({"simulation": changed} if changed else {}),
        **({} if source is None else {"source_sha256": source}),
    }


def strategy_source(strategy: StrategySettings) -> str | None:
    """SHA-256 of the file a strategy of a user's own is written in; None for a shipped one."""
    path: str | None = strategy.name.partition(":")[0]
    if not strategy.name.partition(":")[0].endswith((".py", ".yaml", ".yml")):
        own = getattr(grid_points(strategy)[0].strategy, "strategy", None)  # of an entry point
        path = None if own is None else inspect.getsourcefile(type(own))
    return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()


def record_trials(folder: Path, trials: Iterable[Trial]) -> TrialCount:
    """Record the trials (the run's own last, after every point of a grid) and count.

    A registry that is locked for longer than a few seconds, damaged or not writable stops nothing:
    it is warned of, and the count says so.
    """
    given = list(trials)
    own = given[-1]
    alone = period_sharpe(own.returns["net"].to_numpy())
    try:
        with _connect(folder / FILE) as connection:
            connection.execute("BEGIN")
            for trial in given:
                _write(connection, trial)
            connection.execute("COMMIT")
            return _count(connection, own)
    except Exception as error:  # whatever a damaged file makes DuckDB raise
        problem = " ".join(str(error).split())[:200]
        log.warning(
            "trial registry %s could not be used: %s. This run is not recorded in it; "
            "the deflated Sharpe counts this run alone. Move a damaged file away.",
            folder / FILE,
            problem,
        )
        distinct = len({trial.key for trial in given})
        return TrialCount(distinct, () if alone is None else (alone,), None, problem)


def deflated(
    returns: pl.DataFrame, count: TrialCount, *, at_least: int, periods_per_year: int
) -> dict[str, Any]:
    """`trials`, `probabilistic_sharpe`, `deflated_sharpe`, `sharpe_expected_max`,
    `overfitting_probability` for `metrics["portfolio"]`; `at_least` may only raise the count."""
    found = deflation(
        returns["net"].to_numpy(),
        trials=max(count.recorded, at_least, 1),
        sharpes=count.sharpes,
        periods_per_year=periods_per_year,
    )
    return found | {"overfitting_probability": count.overfitting}


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    """DuckDB lets one process write: wait a little for another run that is just recording."""
    import duckdb

    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = duckdb.connect(str(path))
            break
        except duckdb.IOException as error:
            if "lock" not in str(error).lower() or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    connection.execute(_SCHEMA)
    return connection


def _write(connection: duckdb.DuckDBPyConnection, trial: Trial) -> None:
    """In place of the same trial on the same dates, so that a repeated run counts once."""
    span = (trial.first_asof, trial.last_asof)
    for table in ("trials", "returns"):
        connection.execute(f"DELETE FROM {table} WHERE {_SAME}", [*trial.key, *span])
    sharpe = period_sharpe(trial.returns["net"].to_numpy())
    connection.execute(
        "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, now())",
        [*trial.key, trial.run, *span, sharpe],
    )
    daily = trial.returns.select("date", "net")
    connection.register("daily", daily.to_arrow())
    connection.execute(
        "INSERT INTO returns SELECT ?, ?, ?, ?, ?, ?, date, net FROM daily", [*trial.key, *span]
    )
    connection.unregister("daily")


def _count(connection: duckdb.DuckDBPyConnection, own: Trial) -> TrialCount:
    # A trial judged on several spans is one trial, by its latest record.
    overlapping = """
        SELECT fingerprint, strategy, costs, first_asof, last_asof, sharpe FROM trials
        WHERE data_hash = ? AND first_asof <= ? AND last_asof >= ?
        QUALIFY row_number() OVER (
            PARTITION BY fingerprint, strategy, costs ORDER BY recorded DESC) = 1
    """
    span = [own.data_hash, own.last_asof, own.first_asof]
    rows = connection.execute(overlapping, span).fetchall()
    daily = connection.sql(
        f"""SELECT hash(fingerprint, strategy, costs) AS trial, date, net
        FROM returns SEMI JOIN ({overlapping}) USING
        (fingerprint, strategy, costs, first_asof, last_asof)
        WHERE data_hash = ? ORDER BY trial, date""",
        params=[*span, own.data_hash],
    ).pl()
    return TrialCount(
        recorded=len(rows),
        sharpes=tuple(row[5] for row in rows if row[5] is not None),
        overfitting=shared_overfitting(daily.partition_by("trial", maintain_order=True)),
    )


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, default=str)
