"""The market that the tests of the main job run on, and what a run left."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

TICKERS = [f"T{n:02d}" for n in range(14)]
SPAN = (date(2017, 1, 3), date(2019, 3, 29))


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text())
