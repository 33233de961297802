from __future__ import annotations

import json
from datetime import date

import polars as pl
import pytest

from engine.command import run_command
from engine.data.check import RULES, run_check
from engine.errors import UsageError


@pytest.fixture(scope="module")
def defects(make_bars):
    """A file of the kind that vendors deliver: good bars, and one defect of each common kind."""
    ends = {"OLD": (date(2016, 1, 4), date(2018, 6, 14))}
    whole = (date(2016, 1, 4), date(2020, 12, 31))
    bars = make_bars({f"T{n:02d}": whole for n in range(25)} | ends, seed=11)
    bars = bars.drop("amount", "adj_factor").with_columns(pl.col("volume").cast(pl.Int64))
    day = date(2018, 9, 4)
    one = pl.col("ticker") == "T01"
    before = bars.filter(one, pl.col("date") < day)["close"][-1]
    at = one & (pl.col("date") == day)
    bars = bars.with_columns(
        *(pl.when(at).then(before).otherwise(n).alias(n) for n in ("open", "high", "low", "close")),
        volume=pl.when(at).then(0).otherwise("volume"),
    )
    spike = (pl.col("ticker") == "T02") & (pl.col("date") == day)
    bars = bars.with_columns(high=pl.when(spike).then(pl.col("high") * 2).otherwise("high"))
    gone = (pl.col("ticker") == "T03") & (pl.col("date") == day)
    broken = (pl.col("ticker") == "T04") & (pl.col("date") == day)
    bars = bars.with_columns(low=pl.when(broken).then(pl.col("high") * 1.1).otherwise("low"))
    return bars.filter(~gone)


EXPECTED = {
    ("high-below-low", "T04"),
    ("missing-session", "T03"),
    ("zero-volume", "T01"),
    ("stale", "T01"),
    ("extreme-range", "T02"),
    ("survivorship", None),
}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_every_planted_defect_is_found_and_nothing_else(defects, tmp_path, capsys, kind):
    file = tmp_path / f"bars.{kind}"
    (defects.write_parquet if kind == "parquet" else defects.write_csv)(file)
    out, page = tmp_path / "findings.json", tmp_path / "audit.html"
    assert run_check([str(file), "--json", str(out), "--html", str(page)]) == 0
    content = json.loads(out.read_text(encoding="utf-8"))
    assert set(content) == {"version", "findings"}
    assert content["version"] == 1
    found = content["findings"]
    assert all(set(row) == {"rule", "severity", "ticker", "date", "message"} for row in found)
    assert {(row["rule"], row["ticker"]) for row in found} == EXPECTED
    assert len(found) == len(EXPECTED)
    assert {row["date"] for row in found} == {"2018-09-04", "2020-12-31"}
    said = capsys.readouterr().out
    assert "1 error, 5 warnings" in said
    assert "high-below-low" in said
    text = page.read_text(encoding="utf-8")
    assert "1 error, 5 warnings" in text
    assert all(rule in text for rule in RULES)
    assert "http://" not in text
    assert "https://" not in text


def test_names_in_the_data_are_escaped(defects, tmp_path):
    rows = defects.filter(pl.col("ticker") == "T01").with_columns(
        ticker=pl.lit("<script>alert(1)</script>")
    )
    rows.write_parquet(tmp_path / "bars.parquet")
    page = tmp_path / "audit.html"
    run_check([str(tmp_path / "bars.parquet"), "--html", str(page)])
    text = page.read_text(encoding="utf-8")
    assert "&lt;script&gt;alert" in text
    assert "<script" not in text


def test_a_file_without_defects(defects, tmp_path, capsys):
    defects.filter(pl.col("ticker") == "T05").write_parquet(tmp_path / "good.parquet")
    page = tmp_path / "audit.html"
    assert run_check([str(tmp_path / "good.parquet"), "--html", str(page)]) == 0
    assert "Nothing found" in capsys.readouterr().out
    assert "Looked for and not found" in page.read_text(encoding="utf-8")


def test_a_folder_of_files_named_by_ticker_and_another_calendar(tmp_path, capsys):
    days = pl.date_range(date(2020, 1, 1), date(2020, 3, 31), eager=True)
    for ticker in ("BTC", "ETH"):
        prices = pl.Series([100.0 + (7919 * n) % 23 for n in range(len(days))])
        frame = {"date": days, "open": prices, "high": prices + 1, "low": prices - 1}
        pl.DataFrame({**frame, "close": prices + 0.5}).write_csv(tmp_path / f"{ticker}.csv")
    assert run_check([str(tmp_path), "--calendar", "24/7"]) == 0
    said = capsys.readouterr().out
    assert "182 bars of 2 tickers" in said
    assert "0 errors" in said or "Nothing found" in said


def test_without_a_file_the_source_of_the_settings_is_audited(capsys):
    assert run_check(["--data.source", "embedded"]) == 0
    said = capsys.readouterr().out
    assert "5 tickers, 2000-03-01 to 2013-03-01" in said
    assert "unadjusted-split" not in said


def test_currencies_and_zones_are_read_from_the_file(tmp_path, capsys):
    text = ["ticker,ts,open,high,low,close,volume,Currency"]
    for ticker, currency in (("AAA", "USD"), ("BBB", "GBP")):
        for minute in range(10, 40, 5):
            start = f"2020-03-02T10:{minute}:00-05:00"
            text.append(
                f"{ticker},{start},{10 + minute},{11 + minute},9,{10 + minute},5,{currency}"
            )
    (tmp_path / "bars.csv").write_text("\n".join(text), encoding="utf-8")
    run_check([str(tmp_path / "bars.csv"), "--json", str(tmp_path / "out.json")])
    rows = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["findings"]
    assert ("mixed-currency", None) in {(row["rule"], row["ticker"]) for row in rows}
    assert "mixed-zone" not in {row["rule"] for row in rows}
    assert "GBP, USD" in next(r["message"] for r in rows if r["rule"] == "mixed-currency")


def test_thresholds_come_from_a_file(defects, tmp_path, capsys):
    from engine.config.load import CONFIGS

    file = tmp_path / "bars.parquet"
    defects.write_parquet(file)
    rules = tmp_path / "rules.yaml"
    shipped = (CONFIGS / "check.yaml").read_text(encoding="utf-8")
    rules.write_text(shipped.replace("wick: 0.25", "wick: 9").replace("range: 0.4", "range: 9"))
    run_check([str(file), "--rules", str(rules)])
    capsys.readouterr()
    rules.write_text(shipped.replace("wick: 0.25", "wicks: 9"), encoding="utf-8")
    with pytest.raises(UsageError, match="extreme_range"):
        run_check([str(file), "--rules", str(rules)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.parquet"], "no such file or folder"),
        (["--jsn", "x"], "unknown key 'jsn'"),
        (["--calendar", "XNYSE"], "unknown calendar"),
        (["--json"], "needs a value"),
    ],
)
def test_bad_usage_is_one_line_and_exit_code_2(arguments, said, capsys):
    assert run_command(lambda: run_check(arguments)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
