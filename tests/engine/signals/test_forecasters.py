"""The preferred forecaster or the fallback, in a process that leaves nothing behind."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rich.console import Console

from engine.data.market import load_market
from engine.decisions.scores import score_decisions
from engine.decisions.weights import decide_weights
from engine.errors import UsageError
from engine.run_folder import RunFolder
from engine.signals.compute import compute_signals
from engine.signals.forecasters import ForecasterError

ASOF = date(2020, 11, 13)
NANO = {
    "model__name": "kronos-nano",
    "model__profile": "exact",
    "scoring__lookback": "32",
    "scoring__horizons": "5",
}


@pytest.fixture
def settings(traded, configured, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    traded.write_parquet(tmp_path / "bars.parquet")
    return lambda **flags: configured(tmp_path, tmp_path / "bars.parquet", **flags)


def workers(folder: Path) -> list[int]:
    """Processes whose command names `folder`: tasks lie in it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if "engine.signals.worker" in command and str(folder) in command and not zombie:
            found.append(int(entry.name))
    return found


def test_a_model_that_is_not_there_is_replaced_and_the_reason_kept(settings, tmp_path):
    asked = settings(model__name=str(tmp_path / "gone"), live__forecaster__fallback="reversal")
    found = compute_signals(asked, ASOF)
    alone = compute_signals(settings(model__name="reversal"), ASOF)
    assert found.forecaster == "reversal"
    assert "gone" in found.fallback_reason
    assert "no such folder" in found.fallback_reason
    assert_frame_equal(found.table, alone.table, check_exact=True)
    assert found.model_hash == alone.model_hash
    assert alone.fallback_reason is None
    assert not workers(tmp_path)


def test_without_a_fallback_it_is_an_error(settings):
    asked = settings(model__name="scores:gone.parquet", live__forecaster__fallback="null")
    with pytest.raises(UsageError, match=r"scores file not found: gone\.parquet"):
        compute_signals(asked, ASOF)


def test_both_failing_names_both(settings, tmp_path):
    asked = settings(model__name="scores:a.parquet", live__forecaster__fallback="scores:b.parquet")
    with pytest.raises(ForecasterError, match=r"a\.parquet.*b\.parquet"):
        compute_signals(asked, ASOF)


def test_a_late_model_is_ended(settings, tmp_path):
    asked = settings(**NANO, live__forecaster__timeout_s="0.3")
    found = compute_signals(asked, ASOF)
    assert found.fallback_reason == "kronos-nano: timed out after 0.3 s"
    assert found.forecaster == "momentum"
    assert not workers(tmp_path)


def test_a_killed_process_is_taken_for_want_of_memory(settings, tmp_path):
    def kill() -> None:
        while not (found := workers(tmp_path)):
            time.sleep(0.02)
        os.kill(found[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    found = compute_signals(settings(**NANO), ASOF)
    killer.join()
    assert "memory" in found.fallback_reason
    assert found.forecaster == "momentum"


def test_the_process_ends_with_the_one_that_wants_the_scores(settings, tmp_path):
    """A killed loop leaves nothing that goes on computing."""
    task = tmp_path / "task.pickle"
    task.write_bytes(pickle.dumps(settings(**NANO)))
    code = (
        "import pickle, sys, tempfile; from datetime import date; from pathlib import Path\n"
        "tempfile.tempdir = sys.argv[2]\n"
        "from engine.signals.compute import compute_signals\n"
        "compute_signals(pickle.loads(Path(sys.argv[1]).read_bytes()), date(2020, 11, 13))"
    )
    asking = subprocess.Popen([sys.executable, "-c", code, str(task), str(tmp_path)])
    while not workers(tmp_path):
        assert asking.poll() is None
        time.sleep(0.02)
    asking.kill()
    asking.wait()
    deadline = time.monotonic() + 60
    while workers(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workers(tmp_path)


def test_damaged_weights_are_a_reason_too(settings, tmp_path):
    import kronos

    shutil.copytree(Path(kronos.__file__).parent / "checkpoints" / "nano", tmp_path / "nano")
    weights = tmp_path / "nano" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    found = compute_signals(settings(**NANO | {"model__name": str(tmp_path / "nano")}), ASOF)
    assert found.forecaster == "momentum"
    assert "nano" in found.fallback_reason
    assert "cannot be loaded" in found.fallback_reason


def test_a_model_decides_in_its_process_as_in_a_backtest_and_leaves_its_memory(
    settings, traded, noised, tmp_path
):
    """Reference: the dates at once on the whole data. The buffer makes both dates decide."""
    asked = settings(
        **NANO,
        scoring__rebalance="monthly",
        strategy__name="long_short_quantile",
        strategy__quantile="0.3",
        strategy__buffer="0.6",
        strategy__since="2020-10-01",
    )
    market = load_market(asked.data)
    dates = [date(2020, 10, 30), date(2020, 11, 30)]
    scored = score_decisions(
        market,
        asked,
        dates,
        folder=RunFolder(tmp_path, "elsewhere"),
        console=Console(quiet=True),
        here="always",
    )
    expected = decide_weights(scored.scores, market, asked, schedule=dates).weights
    noised(traded, dates[-1]).write_parquet(tmp_path / "bars.parquet")
    before = resident()
    found = compute_signals(asked, dates[-1])
    assert resident() - before < 50e6
    assert not workers(tmp_path)
    assert found.fallback_reason is None
    assert found.replayed == 2
    assert found.fingerprint == scored.fingerprint
    assert found.identity["forecaster"] == "kronos"
    assert_frame_equal(
        found.weights, expected.filter(pl.col("asof") == dates[-1]), check_exact=True
    )
    assert_frame_equal(
        found.table.drop_nulls("rank").sort("ticker").select("score"),
        scored.scores.filter(pl.col("asof") == dates[-1], pl.col("status") == "ok").select("score"),
        check_exact=True,
    )


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
