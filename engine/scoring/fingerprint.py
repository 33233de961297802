"""One hash over everything that changes a forecast, besides the window itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from engine.forecasters.forecaster import ForecasterSpec
from engine.forecasters.statistics import SCHEMA_VERSION

__all__ = ["fingerprint", "fingerprint_of"]


def fingerprint(
    spec: ForecasterSpec, *, lookback: int, steps: int, seed: int, batch_size: int, threads: int
) -> tuple[str, dict[str, Any]]:
    """(sha256 hex, the content it was made of). Per-window hashes stand beside it in each shard.

    `steps` is the generated length, not the list of horizons: a shorter horizon is read from a
    longer generation (`engine.scoring.longer`). The number of actors has no place here; the
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
