"""Every shell command of README and docs, run once as it stands, in a folder like a reader's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import date, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from places import ROOT

from engine.bench.made_up import brownian_bars
from engine.calendar import TradingCalendar
from engine.config.settings import DataSettings
from engine.data.market import load_market

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

README = ROOT / "README.md"
OTHERS = {*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")} - {README}
DOCUMENTS = [README, *sorted(OTHERS)]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("bash", "sh", "shell", "console")

# Commands in which a pattern is found are not run, for a reason. All others are.
LEFT_OUT = {
    r"^make |pip install|pre-commit": "changes an environment; the wheel's tests make one",
    r"us_daily\.parquet": "bars that do not come with the project",
    r"NeoQuasar/Kronos-small|train_finetune\.yaml": "loads a model from the network",
    r"HOST:6379|ray job submit": "needs a cluster, as tests/engine/scoring/test_clusters.py has",
    r"APCA_API_KEY_ID|--live\.broker alpaca": "needs a broker, as tests/engine/live/brokers have",
    r"-m engine\.live( --send-orders)?$": "goes on until it is stopped",
    r"-m engine\.live acknowledge$": "answers a guard, as tests/engine/live do",
    r"-m engine\.train$": "takes more than two minutes; tests/engine/train train less",
}
# What a command takes for granted, where the document does not say how it came about.
BEFORE = {
    "compare runs/a runs/b": (
        "python -m engine.backtest --run.name a --model.name momentum",
        "python -m engine.backtest --run.name b --model.name reversal",
    ),
    "engine.live status": ("python -m engine.live --once",),
    "--model.name runs/tiny": ("cp -r path/to/folder runs/tiny",),
}


def commands(document: Path) -> list[str]:
    """The commands of a document's shell blocks, without comments, each on one line."""
    blocks = BLOCK.findall(document.read_text(encoding="utf-8"))
    lines = (
        "".join(text for language, text in blocks if language in SHELL)
        .replace("\\\n", " ")
        .splitlines()
    )
    plain = (re.sub(r"(^|\s+)#\s.*$", "", line).replace(".venv/bin/", "") for line in lines)
    return [" ".join(line.split()) for line in plain if line.strip()]


def is_run(command: str) -> bool:
    return not any(re.search(pattern, command) for pattern in LEFT_OUT)


RUN = list(dict.fromkeys(line for path in DOCUMENTS for line in commands(path) if is_run(line)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkout as its commands see it, and the reader's own files that documents speak of."""
    path = tmp_path_factory.mktemp("reader")
    shutil.copy(ROOT / ".env.compile", path)
    shutil.copytree(ROOT / "configs", path / "configs")
    days = TradingCalendar("XNYS").sessions(date(2016, 1, 4), date(2019, 6, 28))
    named = pl.col("ticker").replace("S00000", "SPY")
    bars = brownian_bars(days, 15).with_columns(named)
    bars.sort("ticker", "date").write_parquet(path / "my_bars.parquet")
    (path / "coins").mkdir()
    every_day = [date(2020, 1, 1) + timedelta(days=n) for n in range(400)]
    brownian_bars(every_day, 2, seed=1).write_parquet(path / "coins" / "two.parquet")
    shutil.copytree(ROOT / "kronos" / "checkpoints" / "nano", path / "path" / "to" / "folder")
    given_scores().write_parquet(path / "my_scores.parquet")
    strategies = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
    shown = re.search(r"^```python\n(# small\.py.*?)^```", strategies, re.MULTILINE | re.DOTALL)
    assert shown is not None
    (path / "small.py").write_text(shown[1], encoding="utf-8")
    return path


def given_scores() -> pl.DataFrame:
    """Somebody's scores of the demonstration's names and horizons."""
    bars = load_market(DataSettings()).bars
    dates = bars["date"].unique().sort().to_list()[-300:-40:20]
    names = bars["ticker"].unique().sort()
    keys = product(dates, names, (5, 10, 20))
    rows = [{"asof": day, "ticker": name, "horizon": horizon} for day, name, horizon in keys]
    drawn = np.random.default_rng(0).normal(0, 0.02, len(rows))
    return pl.DataFrame(rows).with_columns(score=pl.Series(drawn))


@pytest.mark.parametrize("command", RUN)
def test_it_runs(command, folder):
    programs = Path(sys.executable).parent
    environment = {k: v for k, v in os.environ.items() if k != "ENGINE_SCORING__CACHE"}
    environment |= {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    before = [line for part, lines in BEFORE.items() if part in command for line in lines]
    for line in [*before, command]:
        said = subprocess.run(
            ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert said.returncode == 0, f"{line}\n{said.stdout[-2000:]}\n{said.stderr[-2000:]}"


def test_the_tables_speak_of_commands_that_are_documented():
    documented = [line for path in DOCUMENTS for line in commands(path)]
    assert [p for p in LEFT_OUT if not any(re.search(p, line) for line in documented)] == []
    assert [part for part in BEFORE if not any(part in line for line in documented)] == []
