"""The path from market to scores to weights is wired once."""

from __future__ import annotations

import re
import subprocess
import sys

from places import ROOT

COUNT = """
import sys, engine.signals.compute
print(*[name for name in sys.modules if name.split(".")[0] in {"engine","backtest","kronos","strategies"}])
"""


def callers(name: str) -> list[str]:
    """Files that define or call `name`, a file as often as it does."""
    return sorted(
        str(path.relative_to(ROOT))
        for folder in ("kronos", "strategies", "backtest", "engine")
        for path in (ROOT / folder).rglob("*.py")
        for _ in re.finditer(rf"\b{name}\(", path.read_text(encoding="utf-8"))
    )


def test_scoring_has_one_caller():
    assert callers("score_market") == ["engine/decisions/scores.py", "engine/scoring/score.py"]


def test_weights_are_made_in_one_place():
    assert set(callers("grid_points")) >= {"engine/decisions/weights.py"}
    decided = set(callers("decide_weights"))
    assert decided == {
        "engine/audit/stages.py",
        "engine/backtest/run.py",
        "engine/decisions/weights.py",
        "engine/signals/compute.py",
    }


def test_the_signal_path_loads_neither_report_nor_registry():
    """What it loads is what a live decision can break on."""
    done = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = done.stdout.split()
    assert len(loaded) < 110, len(loaded)
    assert not [name for name in loaded if re.search(r"report|registry|\.gates|judg", name)]
