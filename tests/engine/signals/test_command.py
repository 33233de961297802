"""`python -m engine.signals`: its files, its page, its exit codes."""

from __future__ import annotations

import json
import re
from datetime import date

import polars as pl
import pytest

from engine.signals.__main__ import main
from engine.signals.html import render_signals
from engine.signals.table import SIGNALS
from engine.signals.write import previous_signals

FLAGS = ["--data.source", "embedded", "--model.name", "momentum", "--scoring.lookback", "60"]


@pytest.fixture
def command(tmp_path):
    return lambda *argv: main([*argv, *FLAGS, "--run.dir", str(tmp_path)])


def test_three_files_and_the_change_since_the_last(command, tmp_path, capsys):
    assert command("--as-of", "2012-05-31") == 0
    assert command("--as-of", "2012-06-29") == 0
    assert "2012-06-29.html" in capsys.readouterr().out.replace("\n", "")
    folder = tmp_path / "signals"
    table = pl.read_parquet(folder / "2012-06-29.parquet")
    assert table.schema == SIGNALS
    content = json.loads((folder / "2012-06-29.json").read_text())
    assert content["version"] == 1
    assert content["asof"] == "2012-06-29"
    assert content["forecaster"] == {
        "name": "momentum", "preferred": "momentum", "fallback_reason": None,
    }  # fmt: skip
    assert content["horizon"] == 20
    assert content["previous"] == "2012-05-31"
    for name in ("config_hash", "model_hash", "data_hash", "fingerprint"):
        assert re.fullmatch("[0-9a-f]{64}", content[name])
    assert "KRONOS_COMPILE" in content["environment"]
    assert [row["ticker"] for row in content["table"]] == table["ticker"].to_list()
    before = pl.read_parquet(folder / "2012-05-31.parquet").select("ticker", before="target_weight")
    joined = table.join(before, on="ticker")
    moved = joined["target_weight"] - joined["before"]
    assert joined["change"].to_list() == pytest.approx(moved.to_list())
    assert content["table"][-1] == {
        "asof": "2012-06-29", "ticker": "FB", "rank": None, "score": None, "p_up": None, "q05": None,
        "q50": None, "q95": None, "target_weight": 0.0, "change": 0.0,
        "reason": "history shorter than lookback",
    }  # fmt: skip


def test_settings_that_decide_change_the_config_hash_and_places_do_not(command, tmp_path):
    def config_hash(*flags: str) -> str:
        assert command("--as-of", "2012-06-29", *flags) == 0
        return json.loads((tmp_path / "signals" / "2012-06-29.json").read_text())["config_hash"]

    plain = config_hash()
    assert config_hash("--run.name", "other", "--evaluation.top_k", "3") == plain
    assert config_hash("--strategy.quantile", "0.4") != plain
    assert config_hash("--live.guards.max_gross", "1") != plain


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "needs --as-of DATE"),
        (("--as-of", "June"), "'June' is not a date"),
        (
            ("--as-of", "2012-06-30"),
            "2012-06-30 is not a session of XNYS; the one before it is 2012-06-29",
        ),
        (("--as-of", "2019-06-28"), "the last bar of the data is of 2013-03-01"),
        (("--as-of", "1999-06-28"), "--as-of 1999-06-28"),
        (("--as-of", "2012-06-29", "--strategy.nmae", "x"), "strategy.nmae"),
        (("--as-of", "2012-06-29", "--live.forecaster.fallbck", "x"), "did you mean"),
        (
            ("--as-of", "2012-06-29", "--strategy.grid", "{quantile: [0.2, 0.4]}"),
            "strategy.grid: signals follow one point of it",
        ),
    ],
)
def test_bad_usage_is_one_line(command, capsys, argv, message):
    assert command(*argv) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said


def test_intraday_bars_are_refused(make_bars, tmp_path, capsys):
    bars = make_bars({"A": (date(2020, 1, 2), date(2020, 1, 10))})
    start = pl.col("date").cast(pl.Datetime("us")) + pl.duration(hours=15)
    bars.with_columns(ts=start.dt.replace_time_zone("UTC")).drop("date").write_parquet(
        tmp_path / "b.parquet"
    )
    flags = [
        "--data.source",
        "parquet",
        "--data.path",
        str(tmp_path / "b.parquet"),
        "--data.bar",
        "60m",
    ]
    rest = ["--data.benchmark", "null", "--model.name", "momentum", "--run.dir", str(tmp_path)]
    assert main(["--as-of", "2020-01-09", *flags, *rest]) == 2
    assert "intraday" in capsys.readouterr().err


def test_a_broken_earlier_file_is_named(command, tmp_path, capsys):
    (tmp_path / "signals").mkdir()
    (tmp_path / "signals" / "2012-05-31.parquet").write_bytes(b"nothing")
    (tmp_path / "signals" / "notes.parquet").write_bytes(b"no date, no matter")
    assert command("--as-of", "2012-06-29") == 2
    assert "2012-05-31.parquet: not a table of signals" in capsys.readouterr().err
    assert not (tmp_path / "signals" / "2012-06-29.json").exists()


def test_previous_signals_are_those_before_the_session(command, tmp_path):
    assert previous_signals(tmp_path, date(2012, 6, 29)) is None
    for day in ("2012-05-31", "2012-06-29", "2012-07-31"):
        assert command("--as-of", day) == 0
    found = previous_signals(tmp_path, date(2012, 7, 31))
    assert found is not None
    assert found.asof == date(2012, 6, 29)
    assert found.weights.columns == ["ticker", "weight"]


def test_the_page_needs_nothing_and_escapes_what_it_shows(command, tmp_path):
    assert command("--as-of", "2012-06-29") == 0
    content = json.loads((tmp_path / "signals" / "2012-06-29.json").read_text())
    content["forecaster"]["fallback_reason"] = "<script>alert(1)</script>"
    content["failed"] = {"<b>": 1}
    page = render_signals(content)
    assert "<script" not in page
    assert not re.search(r"(src|href)=|url\(|@import|https?://", page)
    assert "&lt;script&gt;" in page
    for row in content["table"]:
        assert f">{row['ticker']}</th>" in page
    assert "history shorter than lookback" in page


def test_the_fallback_is_told_everywhere(tmp_path, capsys):
    flags = [*FLAGS, "--run.dir", str(tmp_path), "--model.name", "scores:gone.parquet"]
    assert main(["--as-of", "2012-06-29", *flags]) == 0
    said = capsys.readouterr()
    assert "momentum scores instead" in said.err
    assert "scored by the fallback" in said.out
    made = json.loads((tmp_path / "signals" / "2012-06-29.json").read_text())["forecaster"]
    assert (made["name"], made["preferred"]) == ("momentum", "scores:gone.parquet")
    assert "scores file not found" in made["fallback_reason"]
    page = (tmp_path / "signals" / "2012-06-29.html").read_text()
    assert "The fallback scored" in page


def test_no_forecaster_at_all_is_a_failure_in_one_line(tmp_path, capsys):
    flags = [*FLAGS, "--run.dir", str(tmp_path), "--model.name", "scores:a.parquet"]
    assert (
        main(["--as-of", "2012-06-29", *flags, "--live.forecaster.fallback", "scores:b.parquet"])
        == 1
    )
    assert "a.parquet" in capsys.readouterr().err
    assert main(["--as-of", "2012-06-29", *flags, "--live.forecaster.fallback", "null"]) == 2
    assert not list((tmp_path / "signals").glob("*.json"))
