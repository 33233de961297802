"""Files as they come: whatever is in them, no traceback, no lost row, no half import."""

from __future__ import annotations

import csv
import io
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from engine.data.__main__ import main
from engine.data.contract import conform
from engine.data.store import PriceStore
from engine.data.store.writer import Delivery, StoreWriter

GOOD = "GOOD,2018-01-05,10,11,9,10.5,100"
HEADER = ["ticker", "date", "open", "high", "low", "close", "volume"]

cells = st.one_of(
    st.sampled_from(["", "nan", "NaN", "inf", "-1", "0", "1e400", "n/a", "NULL", "TRUE", "1,5", '"', "'", "\x00", "🂡", "-0.0", "1e-320", " 11 "]),
    st.floats(allow_nan=True, allow_infinity=True).map(str),
    st.text(max_size=6),
)  # fmt: skip
days = st.one_of(
    st.dates(date(2017, 12, 20), date(2018, 2, 1)).map(str),
    st.sampled_from(["", "2018-02-30", "01/02/2018", "20180103", "2018/1/3", "2018-01-03T09:35:00Z", "0001-01-01", "9999-12-31", "yesterday"]),
)  # fmt: skip
prices = st.sampled_from(["10", "10.5", "11", "9"])


@st.composite
def rows(draw) -> list[str]:
    row = [draw(st.sampled_from(["A", "B", "", "TRUE", "ÄÖ"])), draw(days)]
    if draw(st.booleans()):  # a good bar, on whatever date
        return [*row, "10", "11", "9", "10.5", "100"]
    return [*row, *(draw(prices | cells) for _ in range(4)), draw(cells)]


@st.composite
def files(draw) -> str:
    header = draw(st.sampled_from([HEADER, HEADER, HEADER, HEADER, HEADER[:-1], [*HEADER, "adj_factor"], HEADER[1:], ["Date", *HEADER[2:]], ["a", "a"], [], ["timestamps", *HEADER[2:]]]))  # fmt: skip
    body = draw(st.lists(rows(), max_size=8))
    if header == HEADER:  # a bar that nothing is wrong with, before whatever comes
        body.insert(0, GOOD.split(","))
    if draw(st.booleans()):
        body = [row[: len(header)] for row in body]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=draw(st.sampled_from([",", ",", ",", ",", ";"])))
    writer.writerows([header, *body] if header else body)
    broken = text.getvalue()
    if draw(st.integers(0, 9)) == 0:
        broken = broken[: draw(st.integers(0, len(broken)))]
    return broken


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Path:
    """A store without a row: copying it is faster than making the tables again."""
    path = tmp_path_factory.mktemp("empty") / "prices.duckdb"
    with StoreWriter.open(path, calendar="XNYS"):
        pass
    return path


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=files())
@example(text=f"{','.join(HEADER)}\n{GOOD}\nA,2018-01-02,x,1,1,1,\n")
@example(text="ticker,date,open,high,low,close\nA,2018-01-02,1,1,1,1\nA,2018-01-02,1,2,1,1\n")
@example(text='A,,10,10,10,"\n"')  # a column's name breaks the line
def test_every_row_of_a_malformed_file_is_stored_or_quarantined(empty, text, capsys):
    folder = Path(tempfile.mkdtemp())
    try:
        file, path = folder / "A.csv", folder / "prices.duckdb"
        shutil.copy(empty, path)
        file.write_text(text, encoding="utf-8", errors="replace")
        code = main(["import", str(file), "--data.store", str(path)])
        said = capsys.readouterr().err
        event(f"exit code {code}")
        assert code in (0, 2), said
        assert "Traceback" not in said
        if code == 2:
            assert said.startswith("error: ")
            assert said.count("\n") == 1
            return
        store = PriceStore.open(path)
        (entry,) = store.imports
        stored = store.bars().height if store.bar_sizes else 0
        assert entry["rows"] == stored + store.quarantine().height
        assert entry["added"] == stored
        assert entry["rows"] <= text.count("\n") + text.count("\r") + 1
        if GOOD in text:
            assert "GOOD" in store.tickers()
    finally:
        shutil.rmtree(folder)


KILLED = """
import sys
from engine.data.__main__ import main
from engine.calendar import TradingCalendar
TradingCalendar("XNYS")
print("ready", flush=True)
sys.stdin.readline()
sys.exit(main(["import", sys.argv[1], "--data.store", sys.argv[2]]))
"""


def start(file: Path, path: Path) -> subprocess.Popen:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(file), str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout.readline() == "ready\n"
    child.stdin.write("\n")
    child.stdin.flush()
    return child


def end(child: subprocess.Popen) -> None:
    child.wait()
    child.stdin.close()
    child.stdout.close()


def many(seed: int, count: int) -> pl.DataFrame:
    close = np.random.default_rng(seed).uniform(10, 20, count)
    return pl.DataFrame(
        {"ticker": [f"T{i % 20:02}" for i in range(count)], "date": [date(1990, 1, 1) + timedelta(i // 20) for i in range(count)]}
    ).with_columns(open=close, high=close, low=close, close=close)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_import_leaves_the_store_before_or_after_it(tmp_path, seed):
    """A real SIGKILL at a random moment, three times."""
    path, file = tmp_path / "prices.duckdb", tmp_path / "more.parquet"
    first = conform(many(1, 10_000).lazy(), source="first").collect()
    with StoreWriter.open(path, calendar="24/7") as writer:
        writer.add(Delivery("first", "file", "first", batches=[first]))
    before = PriceStore.open(path).bars()
    second = many(2, 60_000)
    second.write_parquet(file)

    child = start(file, path)
    time.sleep(random.Random(seed).uniform(0.0, 0.6) if seed else 0.15)
    child.send_signal(signal.SIGKILL)
    end(child)

    after = conform(second.lazy(), source="x").collect().drop("source").sort("ticker", "date")
    for _ in range(2):  # as the reader finds it, and after the next writer has mended the exports
        found = PriceStore.open(path)
        bars = found.bars()
        assert bars.equals(before if len(found.imports) == 1 else after)
        with StoreWriter.open(path):
            pass
    child = start(file, path)
    end(child)
    assert child.returncode == 0
    assert PriceStore.open(path).bars().equals(after)
    assert PriceStore.open(path).corrections().height == 10_000
