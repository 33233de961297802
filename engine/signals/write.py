"""The files of a session's signals, and reading those of the session before."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from engine.config import Settings
from engine.errors import UsageError
from engine.files import write_frame, write_json, write_text
from engine.run_folder import environment_facts
from engine.signals.compute import FOLDER, Signals
from engine.signals.html import render_signals
from engine.signals.table import SIGNALS

__all__ = [
    "Previous",
    "previous_signals",
    "read_signals",
    "signals_content",
    "signals_files",
    "signals_folder",
    "write_signals",
]

COMPILE = ("KRONOS_COMPILE", "TOTO_DISABLE_COMPILE")


@dataclass(frozen=True)
class Previous:
    """The last signals written before a session: their date, and ticker, weight."""

    asof: date
    weights: pl.DataFrame


def signals_folder(run_dir: Path) -> Path:
    """Where the signals of a `run.dir` lie."""
    return run_dir / FOLDER


def write_signals(
    signals: Signals, settings: Settings, *, previous: date | None = None
) -> tuple[Path, Path, Path]:
    """Write DATE.parquet, DATE.json and DATE.html, each whole; returns their paths.

    `previous` is the session that `change` is counted from. Raises OSError.
    """
    folder = signals_folder(settings.run.dir)
    content = signals_content(signals, settings, previous=previous)
    paths = [folder / f"{signals.asof}.{kind}" for kind in ("parquet", "json", "html")]
    write_frame(paths[0], signals.table)
    write_json(paths[1], content)
    write_text(paths[2], render_signals(content))
    return paths[0], paths[1], paths[2]


def signals_content(
    signals: Signals, settings: Settings, *, previous: date | None = None
) -> dict[str, Any]:
    """Content of DATE.json."""
    facts = environment_facts()
    previous = previous or signals.change_from
    weights = signals.table["target_weight"]
    return {
        "version": 1,
        "asof": signals.asof.isoformat(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "forecaster": {
            "name": signals.forecaster,
            "preferred": settings.model.name,
            "fallback_reason": signals.fallback_reason,
        },
        "strategy": settings.strategy.model_dump(mode="json"),
        "horizon": signals.horizon,
        "rebalance": signals.rebalance,
        "replayed": signals.replayed,
        "previous": None if previous is None else previous.isoformat(),
        "scored": int(signals.table["rank"].count()),
        "gross": float(weights.abs().sum()),
        "net": float(weights.sum()),
        "turnover": float(signals.table["change"].abs().sum()) / 2,
        "fingerprint": signals.fingerprint,
        "identity": signals.identity,
        "config_hash": signals.config_hash,
        "model_hash": signals.model_hash,
        "data_hash": signals.data_hash,
        "code_version": facts["code_version"],
        "environment": {name: os.environ.get(name) for name in COMPILE},
        "drops": signals.drops,
        "failed": signals.failed,
        "table": signals.table.to_dicts(),
    }


def previous_signals(run_dir: Path, asof: date) -> Previous | None:
    """The last signals before `asof`; None if there are none.

    Raises UsageError naming a file that is no signals table.
    """
    found = signals_files(run_dir, "parquet")
    earlier = [day for day in found if day < asof]
    if not earlier:
        return None
    last = max(earlier)
    return Previous(last, read_signals(found[last]).select("ticker", weight="target_weight"))


def signals_files(run_dir: Path, kind: str) -> dict[date, Path]:
    """The files DATE.`kind` of a `run.dir` by their session."""
    paths = signals_folder(run_dir).glob(f"*.{kind}")
    return {day: path for path in paths if (day := _day(path))}


def read_signals(path: Path) -> pl.DataFrame:
    """The table of a signals file. Raises UsageError naming the file."""
    try:
        return pl.read_parquet(path).select(SIGNALS.names()).cast(SIGNALS)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path}: not a table of signals: {reason}; remove it") from None


def _day(path: Path) -> date | None:
    try:
        return date.fromisoformat(path.stem)
    except ValueError:
        return None
