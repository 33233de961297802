from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import date, datetime

import polars as pl
import pytest

from engine.data import load_market
from engine.data.__main__ import main
from engine.data.source import ACTIONS, MEMBERS
from engine.data.store import PriceStore
from engine.data.store.writer import Delivery, StoreWriter
from engine.errors import UsageError
from engine.files import WriteLock

DAY = date(2018, 1, 3)
COUNTS = ("rows", "added", "corrected", "unchanged", "quarantined")


def counts(result) -> tuple[int, ...]:
    return tuple(getattr(result, name) for name in COUNTS)


def raised(rows: pl.DataFrame, day: date = DAY, by: float = 1.0) -> pl.DataFrame:
    """Closes and highs of one date changed."""
    changed = pl.when(pl.col("date") == day)
    return rows.with_columns(
        changed.then(pl.col(name) + by).otherwise(name).alias(name) for name in ("high", "close")
    )


def test_what_goes_in_comes_out(imported, store, rows_of):
    rows = rows_of("B", "A")
    assert counts(imported(rows)) == (6, 6, 0, 0, 0)
    bars = store().bars()
    assert bars.select(rows.columns).equals(rows.sort("ticker", "date"))
    assert bars["amount"].null_count() == 6
    assert store().tickers() == ["A", "B"]
    assert store().span() == (date(2018, 1, 2), date(2018, 1, 4))


def test_the_same_rows_again_change_nothing(imported, store, rows_of):
    imported(rows_of("A", "B"))
    before = store().bars()
    assert counts(imported(rows_of("A", "B"))) == (6, 0, 0, 6, 0)
    assert store().bars().equals(before)
    assert store().corrections().is_empty()


def test_a_correction_replaces_by_ticker_and_date_and_is_logged(imported, store, rows_of):
    rows = rows_of("A", "B")
    imported(rows)
    fixed = raised(rows).filter(pl.col("ticker") == "A")
    assert counts(imported(fixed)) == (3, 0, 1, 2, 0)
    bars = store().bars()
    assert bars.filter(pl.col("ticker") == "A")["close"].to_list() == [11.0, 13.0, 13.0]
    assert bars.filter(pl.col("ticker") == "B")["close"].to_list() == [11.0, 12.0, 13.0]
    logged = store().corrections()
    assert logged.select("ticker", "date", "close", "import_id", "replaced_by").rows() == [
        ("A", DAY, 12.0, 1, 2)
    ]


@pytest.mark.parametrize("held", [False, True])
def test_a_date_that_comes_twice_in_one_import_is_judged_as_in_one_file(
    imported, store, rows_of, held
):
    rows = rows_of("A", sessions=3)
    if held:
        imported(rows)
    other, third = raised(rows, by=5.0), raised(rows, by=7.0).filter(pl.col("date") == DAY)
    first = raised(rows, by=2.0)
    result = imported(first, other, third)
    # The three rows of that date differ: none is right. The others are repeats.
    assert result.rules == {"conflicting duplicates": 3, **({} if held else {"duplicate row": 2})}
    assert result.added + result.corrected + result.unchanged + result.quarantined == result.rows
    bars = store().bars()
    known = dict(bars.select("date", "close").iter_rows())
    # What an earlier import said of that date stands again.
    assert known.get(DAY) == (12.0 if held else None)
    assert bars.height == (3 if held else 2)
    assert store().corrections().is_empty()


def test_rows_that_break_a_rule_are_quarantined_and_kept_apart(imported, store, rows_of):
    bad = rows_of("A").with_columns(high=pl.when(pl.col("date") == DAY).then(0.5).otherwise("high"))
    assert counts(imported(bad)) == (3, 2, 0, 0, 1)
    lost = store().quarantine()
    assert lost.select("ticker", "date", "rule", "source", "import_id").rows() == [
        ("A", DAY, "high below low", "file", 1)
    ]


def test_imports_are_listed(imported, store, rows_of):
    imported(rows_of("A"))
    imported(rows_of("B"))
    entries = store().imports
    assert [(e["id"], e["what"], e["rows"], e["added"]) for e in entries] == [
        (1, "file", 3, 3),
        (2, "file", 3, 3),
    ]


def test_a_failed_import_leaves_the_store_as_it_was(imported, path, store, rows_of):
    imported(rows_of("A"))
    before = store().bars()

    def batches():
        yield (
            rows_of("B")
            .lazy()
            .select(
                "ticker",
                "date",
                "open",
                "high",
                "low",
                "close",
                "volume",
                amount=1.0,
                adj_factor=1.0,
                source=pl.lit("s"),
            )
            .collect()
        )
        raise UsageError("the disk is gone")

    with pytest.raises(UsageError, match="the disk is gone"), StoreWriter.open(path) as writer:
        writer.add(Delivery("file", "file", "h", batches=batches()))
    assert store().bars().equals(before)
    with StoreWriter.open(path) as writer:
        assert writer.imported("h") is None


def test_daily_and_intraday_bars_stand_side_by_side(imported, store, rows_of):
    imported(rows_of("A"))
    times = [datetime(2018, 1, 3, 14, 30), datetime(2018, 1, 3, 14, 35), datetime(2018, 1, 3, 9)]
    fives = rows_of("A").with_columns(ts=pl.Series(times)).drop("date")
    result = imported(fives)
    assert result.rules == {"outside trading hours": 1}
    assert store().bar_sizes == ["1d", "5m"]
    assert store().bars().height == 3
    bars = store(bar="5m").bars()
    assert bars["ts"].dt.replace_time_zone(None).to_list() == times[:2]
    assert bars["date"].to_list() == [DAY, DAY]
    with pytest.raises(UsageError, match=r"data\.bar: .* holds no 1m bars \(it holds 1d, 5m\)"):
        store(bar="1m")


def test_one_process_writes_at_a_time(imported, path, store, rows_of):
    imported(rows_of("A"))
    code = (
        "import sys\nfrom pathlib import Path\nfrom engine.files import WriteLock\n"
        "with WriteLock(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError) as caught, StoreWriter.open(path):
            pass
        assert str(caught.value).startswith(f"{path} is being written by process {holder.pid} (")
        assert store().bars().height == 3  # readers go on
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    with WriteLock(path):  # a killed holder holds nothing
        pass


def test_an_open_store_keeps_its_state_while_others_import(imported, store, rows_of):
    imported(rows_of("A"))
    before = store()
    imported(raised(rows_of("A")))
    assert before.bars()["close"].to_list() == [11.0, 12.0, 13.0]
    assert store().bars()["close"].to_list() == [11.0, 13.0, 13.0]


def test_exports_that_a_killed_process_did_not_write_are_mended(imported, path, store, rows_of):
    imported(rows_of("A"))
    folder = path.with_name(f"{path.name}.export")
    old = (folder / "manifest.json").read_bytes()
    imported(rows_of("B"))
    # As if the process had died between its commit and its export.
    (folder / "manifest.json").write_bytes(old)
    assert store().tickers() == ["A"]
    with StoreWriter.open(path):
        pass
    assert store().tickers() == ["A", "B"]


def test_a_file_whose_import_was_not_exported_is_known_all_the_same(
    tmp_path, path, rows_of, capsys
):
    file = tmp_path / "bars.parquet"
    rows_of("A").write_parquet(file)
    command = ["import", str(file), "--data.store", str(path)]
    assert main(command) == 0
    (path.with_name(f"{path.name}.export") / "manifest.json").unlink()
    assert main(command) == 0
    assert "nothing to do: its content was imported (import 1)" in capsys.readouterr().out
    assert len(PriceStore.open(path).imports) == 1


def test_a_store_without_exports_makes_them(imported, path, store, rows_of):
    imported(rows_of("A"))
    (path.with_name(f"{path.name}.export") / "manifest.json").unlink()
    assert store().tickers() == ["A"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no price store at {path}"),
        (b"text, no database", "cannot be opened as a price store"),
    ],
)
def test_what_is_no_store(path, content, message):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        PriceStore.open(path)
    assert message.format(path=path) in str(caught.value)


def test_a_store_is_of_one_calendar(imported, rows_of):
    imported(rows_of("A"), calendar="24/7")
    with pytest.raises(UsageError, match="holds bars of 24/7, not of XNYS"):
        imported(rows_of("B"), calendar="XNYS")


def test_actions_and_members_replace_by_key(path, store):
    def add(hash_, actions=None, members=None):
        with StoreWriter.open(path) as writer:
            return writer.add(Delivery("f", "file", hash_, actions=actions, members=members))

    actions = pl.DataFrame(
        [("A", DAY, "split", 2.0, False), ("A", DAY, "merger", 1.0, False), (None, DAY, "split", 2.0, False)],
        schema=ACTIONS, orient="row",
    )  # fmt: skip
    result = add("a", actions=actions)
    assert (result.added, result.rules) == (1, {"invalid row of actions": 2})
    result = add("b", actions=actions.head(1).with_columns(value=pl.lit(3.0)))
    assert (result.added, result.corrected) == (0, 1)
    assert store().actions()["value"].to_list() == [3.0]
    members = pl.DataFrame(
        [("A", DAY, None), ("B", DAY, date(2017, 1, 1))], schema=MEMBERS, orient="row"
    )
    result = add("c", members=members)
    assert (result.added, result.rules) == (1, {"invalid row of universe": 1})


class TestCommand:
    def test_imports_once(self, tmp_path, path, rows_of, capsys):
        file = tmp_path / "bars.parquet"
        rows_of("A").write_parquet(file)
        out = tmp_path / "done.json"
        command = ["import", str(file), "--data.store", str(path), "--json", str(out)]
        assert main(command) == 0
        assert "import 1: " in capsys.readouterr().out
        assert json.loads(out.read_text())["imports"][0]["added"] == 3
        assert main(command) == 0
        assert "nothing to do: its content was imported on" in capsys.readouterr().out
        assert json.loads(out.read_text())["imports"] == [
            {"id": 1, "what": str(file), "imported": False}
        ]
        assert len(PriceStore.open(path).imports) == 1
        assert main([*command, "--again"]) == 0
        assert "3 unchanged" in capsys.readouterr().out

    def test_the_same_file_read_otherwise_is_another_import(self, tmp_path, path, rows_of):
        file = tmp_path / "bars.parquet"
        rows_of("A", "B").write_parquet(file)
        command = ["import", str(file), "--data.store", str(path)]
        assert main([*command, "--data.universe", "A"]) == 0
        assert main(command) == 0
        assert [entry["added"] for entry in PriceStore.open(path).imports] == [3, 3]

    def test_imports_a_source(self, path, capsys):
        command = ["import", "--data.source", "embedded", "--data.store", str(path)]
        assert main(command) == 0
        assert main(command) == 0
        assert "embedded: nothing to do" in capsys.readouterr().out
        assert sorted(PriceStore.open(path).series()) == ["NASDAQ", "SP500", "VIX"]

    def test_info_shows_and_writes_what_is_there(self, tmp_path, path, data_folder, capsys):
        defects = data_folder / "defects.csv"
        assert main(["import", str(defects), "--data.store", str(path)]) == 0
        out = tmp_path / "info.json"
        capsys.readouterr()
        assert main(["info", "--data.store", str(path), "--json", str(out)]) == 0
        shown = capsys.readouterr().out
        content = json.loads(out.read_text())
        (bars,) = content["bars"]
        assert (bars["bar"], bars["rows"], bars["first"]) == ("1d", 10, "2018-01-02")
        assert sum(content["quarantine"].values()) == 9
        assert "conflicting duplicates" in shown
        assert len(shown.splitlines()) < 24

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (["import", "nowhere.csv"], "no such file or folder: nowhere.csv"),
            (["import", "x", "--as", "prices"], "--as: unknown table 'prices'; use bars, series, actions, universe"),
            (["import", "--data.stor", "x"], "unknown key 'data.stor' (flag --data.stor); did you mean 'data.store'?"),
            (["info", "--data.store", "nowhere.duckdb"], "data.store: no price store at nowhere.duckdb"),
            (["fill"], "engine.data: unknown command 'fill'; use import, check or info"),
        ],
    )  # fmt: skip
    def test_bad_usage_is_one_line(self, argv, message, capsys, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        assert main(argv) == 2
        said = capsys.readouterr().err.strip()
        assert said.startswith(f"error: {message}")
        assert "\n" not in said


@pytest.mark.parametrize("index", ["IDX", None])
def test_a_market_of_the_store_is_that_of_the_file(data_folder, path, request_of, index):
    file = data_folder / "defects.csv"
    assert main(["import", str(file), "--data.store", str(path)]) == 0
    ours = load_market(request_of("duckdb", store=path, benchmark=index))
    theirs = load_market(request_of("csv", file, benchmark=index))
    assert ours.bars.equals(theirs.bars)
    assert ours.data_hash == theirs.data_hash
    assert ours.drops == theirs.drops
    assert ours.quarantine.sort(pl.all()).equals(theirs.quarantine.sort(pl.all()))


def test_a_market_of_the_embedded_bars_too(path, request_of):
    assert main(["import", "--data.store", str(path)]) == 0
    given = {"benchmark": "NASDAQ", "volatility_index": "VIX", "start": date(2005, 1, 1)}
    ours = load_market(request_of("duckdb", store=path, **given))
    theirs = load_market(request_of("embedded", **given))
    assert ours.data_hash == theirs.data_hash


def test_the_calendar_of_a_store_and_of_the_request_must_agree(imported, path, request_of, rows_of):
    imported(rows_of("A"), calendar="24/7")
    with pytest.raises(
        UsageError, match=r"holds bars of 24/7, not of XNYS; give --data\.calendar 24/7"
    ):
        load_market(request_of("duckdb", store=path))
