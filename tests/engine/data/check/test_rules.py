"""Every rule finds a planted case, where it was planted, and nothing in the good bars beside it."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from engine.calendar import TradingCalendar
from engine.data.check.command import STATED
from engine.data.check.findings import FINDINGS, QUARANTINE_RULES, RULES
from engine.data.check.limits import SymbolChange

DAY = date(2020, 6, 10)
AFTER = pl.col("date") >= DAY
NAN = float("nan")


def found(audit) -> list[tuple]:
    return audit.findings.select("rule", "ticker", "date").rows()


def test_nothing_is_found_in_good_bars(run, clean):
    audit = run(clean)
    assert audit.findings.is_empty()
    assert audit.findings.schema == FINDINGS
    assert (audit.rows, audit.tickers) == (clean.height, 3)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"close": NAN}, "price-not-finite"),
        ({"low": 0.0}, "price-not-positive"),
        ({"high": 1e-3}, "high-below-low"),
        ({"high": pl.max_horizontal("open", "close") * 0.999, "low": 1.0}, "high-below-body"),
        ({"low": pl.min_horizontal("open", "close") * 1.001}, "low-above-body"),
        ({"volume": -5.0}, "volume-negative"),
        ({"amount": -5.0}, "amount-negative"),
        ({"adj_factor": 0.0}, "factor-invalid"),
    ],
)
def test_rows_an_import_would_quarantine_are_errors(run, clean, change, values, rule):
    audit = run(change(clean, "BBB", DAY, **values))
    assert found(audit) == [(rule, "BBB", DAY)]
    assert audit.findings["severity"].to_list() == ["error"]


def test_rows_without_a_ticker_or_date(run, clean, change):
    rows = change(clean, "AAA", DAY, date=None)
    rows = change(rows, "BBB", DAY, ticker=None)
    audit = run(rows)
    errors = audit.findings.filter(pl.col("severity") == "error")
    assert errors["rule"].to_list() == ["ticker-missing", "date-unreadable"]


def test_duplicates(run, clean, change):
    row = clean.filter(pl.col("ticker") == "CCC", pl.col("date") == DAY)
    assert found(run(pl.concat([clean, row]).sort("ticker", "date"))) == [
        ("duplicate-row", "CCC", DAY)
    ]
    other = row.with_columns(volume=pl.col("volume") + 1)
    assert (
        found(run(pl.concat([clean, other]).sort("ticker", "date")))
        == [("duplicate-conflict", "CCC", DAY)] * 2
    )


def test_a_bar_on_a_holiday(run, clean, change):
    holiday = date(2020, 7, 3)
    row = clean.filter(pl.col("ticker") == "AAA", pl.col("date") == date(2020, 7, 2))
    rows = pl.concat([clean, row.with_columns(date=holiday)]).sort("ticker", "date")
    assert found(run(rows)) == [("extra-session", "AAA", holiday)]


def test_every_rule_of_the_quarantine_has_an_id():
    assert set(QUARANTINE_RULES.values()) <= set(RULES)


def test_unsorted_rows(run, clean):
    a, b = clean.head(10), clean.slice(10)
    assert found(run(pl.concat([b, a]))) == [("order", "AAA", date(2019, 1, 2))]
    # Tickers in any order are no disorder of time.
    assert found(run(clean.sort("ticker", descending=True, maintain_order=True))) == []


@pytest.mark.parametrize("ratio", [2.0, 3.0, 7.0, 20.0, 1.5, 0.1, 0.25])
def test_unadjusted_split(run, clean, change, rescaled, ratio):
    own = clean.filter(pl.col("ticker") == "BBB")
    previous = own.filter(pl.col("date") < DAY)["close"][-1]
    opened = own.filter(pl.col("date") == DAY)["open"].item()
    steady = change(clean, "BBB", pl.lit(True), volume=5000.0)
    rows = change(steady, "BBB", AFTER, **rescaled(previous / opened / ratio, ratio))
    audit = run(rows)
    assert found(audit) == [("unadjusted-split", "BBB", DAY)]
    shown = f"1:{1 / ratio:.0f}" if ratio < 1 else f"{ratio:g}:1"
    assert f"looks like a split {shown}:" in audit.findings["message"][0]
    # What the factor explains is adjusted.
    assert found(run(change(rows, "BBB", AFTER, adj_factor=ratio))) == []


def test_a_crash_is_no_split(run, clean, change, rescaled):
    rows = change(clean, "BBB", AFTER, **rescaled(0.5))
    crowd = change(rows, "BBB", DAY, volume=pl.col("volume") * 20)
    assert found(run(crowd)) == []


def test_a_price_that_comes_back_is_no_split(run, clean, change, rescaled):
    rows = change(clean, "BBB", DAY, **rescaled(0.5, 2.0))
    assert "unadjusted-split" not in run(rows).counts()


def test_unadjusted_distribution(run, make_bars, change, rescaled):
    names = [f"T{n:02d}" for n in range(12)]
    span = (date(2020, 1, 2), date(2020, 12, 31))
    rows = make_bars({name: span for name in names}, seed=5)
    # Calm nights, so that a drop of a tenth stands out.
    calm = (pl.col("close") / pl.col("close").first().over("ticker")) ** 0.2 * 50
    by = calm / pl.col("close")
    rows = rows.with_columns(*(pl.col(n) * by for n in ("open", "high", "low", "close")))
    rows = rows.with_columns(
        pl.lit(5000.0).alias("volume"), source=pl.lit("file"), amount=pl.lit(None, pl.Float64)
    )
    assert found(run(rows)) == []
    dropped = change(rows, "T03", AFTER, **rescaled(0.9))
    assert found(run(dropped)) == [("unadjusted-distribution", "T03", DAY)]
    # The same drop of everybody, or with a crowd of sellers, is news.
    everybody = rows.with_columns(
        pl.when(AFTER).then(pl.col(n) * 0.9).otherwise(n).alias(n)
        for n in ("open", "high", "low", "close")
    )
    assert found(run(everybody)) == []
    assert found(run(change(dropped, "T03", DAY, volume=25000.0))) == []


def test_hundredths_of_a_currency(run, clean, change, rescaled):
    rows = change(clean, "CCC", AFTER, **rescaled(100.0))
    assert found(run(rows)) == [("mixed-currency", "CCC", DAY)]
    # A split 1:100 has a hundredth of the shares.
    split = change(clean, "CCC", AFTER, **rescaled(100.0, 0.01))
    assert found(run(split)) == [("unadjusted-split", "CCC", DAY)]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ([("currency", "A", "USD"), ("currency", "B", "USD")], []),
        ([("currency", "A", "USD"), ("currency", "B", "EUR")], [("mixed-currency", None)]),
        ([("currency", "A", "USD"), ("currency", "A", "EUR")], [("mixed-currency", "A")]),
        ([("zone", "A", "-05:00"), ("zone", "A", "+00:00")], [("mixed-zone", "A")]),
    ],
)
def test_stated_currencies_and_zones(run, clean, stated, expected):
    frame = pl.DataFrame(stated, schema=STATED, orient="row")
    assert run(clean, stated=frame).findings.select("rule", "ticker").rows() == expected


def test_dates_shifted_to_another_zone(run, clean):
    early = (pl.col("ticker") == "AAA") & (pl.col("date") >= date(2020, 9, 1))
    rows = clean.with_columns(
        date=pl.when(early).then(pl.col("date").dt.offset_by("-1d")).otherwise("date")
    ).filter(~pl.struct("ticker", "date").is_duplicated())
    audit = run(rows)
    assert ("mixed-zone", "AAA") in audit.findings.select("rule", "ticker").rows()
    # One odd Sunday is not a zone.
    sunday = clean.filter(pl.col("ticker") == "BBB", pl.col("date") == date(2020, 9, 8))
    one = pl.concat([clean, sunday.with_columns(date=date(2020, 9, 6))]).sort("ticker", "date")
    assert run(one).counts() == {"extra-session": 1}


def test_intraday_times_of_another_zone(run, calendar):
    hours = calendar.schedule(date(2020, 3, 2), date(2020, 3, 13))
    rows = []
    for ticker, shift in (("AAA", 0), ("BBB", -5)):
        for opens in hours["open"].to_list():
            for bar in range(12):
                ts = opens + timedelta(minutes=30 * bar, hours=shift)
                price = 1000.0 + bar + ts.day
                rows.append((ts, ts.date(), ticker, price, price + 1, price - 1, price, 9.0))
    names = ["ts", "date", "ticker", "open", "high", "low", "close", "volume"]
    frame = pl.DataFrame(rows, schema=names, orient="row").with_columns(
        pl.col("ts").cast(pl.Datetime("us", "UTC")),
        amount=pl.lit(None, pl.Float64),
        adj_factor=pl.lit(1.0),
        source=pl.lit("file"),
    )
    counts = run(frame).findings.group_by("rule", "ticker").len()
    assert ("mixed-zone", "BBB", 1) in counts.rows()
    assert not counts.filter(pl.col("ticker") == "AAA").height
    inside = run(frame.filter(pl.col("ticker") == "AAA"))
    assert inside.findings.is_empty()
    assert isinstance(frame["ts"][0], datetime)


def test_missing_sessions(run, clean):
    gone = [date(2020, 6, 10), date(2020, 6, 11), date(2020, 9, 1)]
    rows = clean.filter(~((pl.col("ticker") == "BBB") & pl.col("date").is_in(gone)))
    audit = run(rows)
    assert audit.findings.select("rule", "ticker", "date", "message").rows() == [
        ("missing-session", "BBB", gone[0], "no bar on 2 sessions, 2020-06-10 to 2020-06-11"),
        ("missing-session", "BBB", gone[2], "no bar on 2020-09-01"),
    ]


def test_a_session_that_nobody_has_is_one_finding(run, clean):
    audit = run(clean.filter(pl.col("date") != DAY))
    assert found(audit) == [("missing-session", None, DAY)]
    assert "3 of 3 tickers" in audit.findings["message"][0]


def test_a_quarantined_bar_is_not_missing_too(run, clean, change):
    assert run(change(clean, "AAA", DAY, close=NAN)).counts() == {"price-not-finite": 1}


def test_ticker_reuse(run, make_bars):
    spans = {"AAA": (date(2015, 1, 2), date(2020, 12, 31))}
    bars = make_bars(spans).with_columns(source=pl.lit("file"))
    gap = pl.col("date").is_between(date(2016, 5, 2), date(2017, 8, 1))
    assert found(run(bars.filter(~gap))) == [("ticker-reuse", "AAA", date(2016, 5, 2))]
    short = pl.col("date").is_between(date(2016, 5, 2), date(2016, 8, 1))
    assert run(bars.filter(~short)).counts() == {"missing-session": 1}


def test_predecessor_history(run, clean):
    before = SymbolChange.model_validate({"ticker": "BBB", "from": DAY, "before": "another"})
    later = SymbolChange.model_validate(
        {"ticker": "AAA", "from": date(2019, 1, 2), "before": "another"}
    )
    audit = run(clean, changes=(before, later))
    assert found(audit) == [("predecessor-history", "BBB", date(2019, 1, 2))]
    assert "are of another" in audit.findings["message"][0]


def test_zero_volume(run, clean, change):
    audit = run(change(clean, "AAA", DAY, volume=0.0))
    assert found(audit) == [("zero-volume", "AAA", DAY)]
    # An index has no volume at all.
    assert found(run(change(clean, "AAA", pl.lit(True), volume=0.0))) == []


def test_stale_bars(run, clean, change):
    last = clean.filter(pl.col("ticker") == "AAA", pl.col("date") < DAY).tail(1)
    still = dict.fromkeys(("open", "high", "low", "close"), last["close"][0])
    assert found(run(change(clean, "AAA", DAY, **still))) == [("stale", "AAA", DAY)]
    same = {name: last[name][0] for name in still}
    assert found(run(change(clean, "AAA", DAY, **same))) == [("stale", "AAA", DAY)]
    # A bar that closes where the last one did has moved in between.
    moved = {"open": last["close"][0], "close": last["close"][0]} | {
        "high": last["close"][0] * 1.01,
        "low": last["close"][0] * 0.99,
    }
    assert found(run(change(clean, "AAA", DAY, **moved))) == []


def test_a_run_of_one_close_is_one_finding(run, clean, change):
    days = (pl.col("date") >= DAY) & (pl.col("date") <= date(2020, 6, 17))
    close = clean.filter(pl.col("ticker") == "AAA", pl.col("date") == DAY)["close"][0]
    pinned = {"open": close * 0.999, "close": close, "high": close * 1.01, "low": close * 0.99}
    audit = run(change(clean, "AAA", days, **pinned))
    assert audit.counts() == {"stale": 1}
    assert audit.findings["message"][0].startswith("6 closes in a row")
    short = days & (pl.col("date") <= date(2020, 6, 12))
    flat = {"open": pl.col("open"), "close": close}
    high = pl.max_horizontal("open", pl.lit(close)) * 1.01
    low = pl.min_horizontal("open", pl.lit(close)) * 0.99
    assert found(run(change(clean, "AAA", short, **flat, high=high, low=low))) == []


@pytest.mark.parametrize(
    ("high", "low", "extreme"),
    [(1.0, 0.6, True), (1.6, 1.0, True), (1.28, 1.0, True), (1.05, 0.95, False)],
)
def test_extreme_range(run, clean, change, high, low, extreme):
    body = {
        "high": pl.max_horizontal("open", "close") * high,
        "low": pl.min_horizontal("open", "close") * low,
    }
    expected = [("extreme-range", "AAA", DAY)] if extreme else []
    assert found(run(change(clean, "AAA", DAY, **body))) == expected


def test_survivorship(run, make_bars):
    whole = (date(2015, 1, 2), date(2018, 12, 31))
    alive = {f"T{n:02d}": whole for n in range(24)}
    rows = make_bars(alive).with_columns(source=pl.lit("file"))
    audit = run(rows)
    assert found(audit) == [("survivorship", None, whole[1])]
    assert "24 of 24 names (100%)" in audit.findings["message"][0]
    ends = {f"T{n:02d}": (whole[0], date(2016 + n % 3, 6, 30)) for n in range(4)}
    assert found(run(make_bars(alive | ends).with_columns(source=pl.lit("file")))) == []
    few = rows.filter(pl.col("ticker") < "T10")
    assert found(run(few)) == []


def test_another_calendar_is_said_once_and_silences_what_it_would_spoil(run, clean):
    always = TradingCalendar("24/7")
    days = always.sessions(date(2019, 1, 2), date(2019, 12, 31))
    price = [100.0 + (n * 7919) % 31 for n in range(len(days))]
    rows = pl.DataFrame(
        {
            "date": days,
            "ticker": "BTC",
            "open": price,
            "high": [p + 1 for p in price],
            "low": [p - 1 for p in price],
            "close": [p + 0.5 for p in price],
            "volume": [100.0 + n % 17 for n in range(len(days))],
            "amount": pl.Series([None] * len(days), dtype=pl.Float64),
            "adj_factor": 1.0,
            "source": "file",
        }
    )
    counts = run(rows).counts()
    assert set(counts) == {"extra-session", "calendar-mismatch"}
    assert counts["extra-session"] == len(days) - 252
    hint = run(rows).findings.filter(pl.col("rule") == "calendar-mismatch")["message"][0]
    assert "24/7" in hint
    assert not run(rows, calendar=always).severity_count("error")


def test_no_rows(run, clean):
    assert run(clean.clear()).findings.is_empty()


def test_findings_are_errors_first_and_independent_of_the_order_of_rows(run, clean, change):
    rows = change(change(clean, "CCC", DAY, close=NAN), "AAA", DAY, volume=0.0)
    ordered = run(rows).findings
    assert ordered["severity"].to_list() == ["error", "warning"]
    shuffled = run(rows.sample(fraction=1.0, shuffle=True, seed=1)).findings
    assert shuffled.filter(pl.col("rule") != "order").equals(ordered)
