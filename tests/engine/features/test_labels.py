from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import engine.features.labels
from engine.calendar import TradingCalendar
from engine.errors import UsageError
from engine.features import compute_labels
from engine.features.labels import LABELS

T0 = date(2018, 1, 2)
# Sessions from T0: 2, 3, 4, 5, 8, 9 January 2018.


def label_of(market, ticker: str, horizon: int, asof: date = T0) -> dict:
    labels = compute_labels(market, [asof], [horizon]).filter(pl.col("ticker") == ticker)
    return labels.row(0, named=True)


def test_by_hand_with_a_benchmark(market_of):
    market = market_of(
        {"A": [100.0, 104.0, 110.0, 121.0], "B": [50.0, 50.0, 45.0, 40.0]},
        opens={"A": [99.0, 102.0, 103.0, 111.0], "B": [50.0, 50.0, 48.0, 44.0]},
        benchmark=[(990.0, 1000.0), (1005.0, 1010.0), (1008.0, 1020.0), (1015.0, 1050.0)],
    )
    labels = compute_labels(market, [T0], [3, 2])
    assert labels.schema == LABELS
    assert labels.select("ticker", "horizon", "matures", "mature", "label_flag").rows() == [
        ("A", 2, date(2018, 1, 4), True, None),
        ("A", 3, date(2018, 1, 5), True, None),
        ("B", 2, date(2018, 1, 4), True, None),
        ("B", 3, date(2018, 1, 5), True, None),
    ]
    assert labels["total_return"].to_list() == pytest.approx([0.10, 0.21, -0.10, -0.20])
    assert labels["label"].to_list() == pytest.approx([0.08, 0.16, -0.12, -0.25])
    assert labels["label_next_open"].to_list() == pytest.approx(
        [
            110 / 102 - 1020 / 1005,
            121 / 102 - 1050 / 1005,
            45 / 50 - 1020 / 1005,
            40 / 50 - 1050 / 1005,
        ]
    )


def test_by_hand_without_a_benchmark(market_of):
    market = market_of(
        {"A": [100.0, 110.0], "B": [100.0, 104.0], "C": [100.0, None], "D": [None, 50.0]},
        opens={"A": [100.0, 105.0], "B": [100.0, 100.0], "C": [100.0, None], "D": [None, 50.0]},
    )
    labels = compute_labels(market, [T0], [1])
    # C has no bar at t+1: its last price stands. D has no bar at the asof: no label.
    assert labels["ticker"].to_list() == ["A", "B", "C"]
    mean = (0.10 + 0.04 + 0.0) / 3
    assert labels["label"].to_list() == pytest.approx([0.10 - mean, 0.04 - mean, -mean])
    after_open = [110 / 105 - 1, 0.04]
    assert labels["label_next_open"].to_list() == [
        pytest.approx(after_open[0] - sum(after_open) / 2),
        pytest.approx(after_open[1] - sum(after_open) / 2),
        None,
    ]


def test_without_a_benchmark_only_members_are_averaged(market_of):
    market = market_of({"A": [100.0, 110.0], "B": [100.0, 104.0], "C": [100.0, 200.0]})
    spans = {"A": (T0, None), "B": (T0, T0), "C": (date(2018, 1, 3), None)}
    members = pl.DataFrame(
        [(ticker, *span) for ticker, span in spans.items()],
        schema={"ticker": pl.String, "from": pl.Date, "to": pl.Date},
        orient="row",
    )
    labels = compute_labels(replace(market, members=members), [T0], [1])
    assert labels["label"].to_list() == pytest.approx([0.10 - 0.07, 0.04 - 0.07, 1.0 - 0.07])


def test_a_ticker_that_stops_trading_takes_its_last_price(market_of):
    closes = {"A": [100.0, 90.0, 80.0, None, None, None], "B": [100.0] * 6}
    market = market_of(closes)
    row = label_of(market, "A", 4)
    assert (row["total_return"], row["label_flag"], row["mature"]) == (
        pytest.approx(-0.2),
        "delisted",
        True,
    )
    assert label_of(market, "A", 2)["label_flag"] is None


def test_a_halted_ticker_is_stale(market_of):
    market = market_of({"A": [100.0, 90.0, None, None, 95.0, 96.0], "B": [100.0] * 6})
    row = label_of(market, "A", 3)
    assert (row["total_return"], row["label_flag"]) == (pytest.approx(-0.1), "stale")
    assert label_of(market, "A", 4)["label_flag"] is None


def test_a_ticker_halted_the_next_day_has_no_next_open(market_of):
    market = market_of({"A": [100.0, None, 90.0], "B": [100.0] * 3}, benchmark=[(1.0, 1.0)] * 3)
    row = label_of(market, "A", 2)
    assert row["label"] == pytest.approx(-0.1)
    assert row["label_next_open"] is None


def test_what_is_not_mature_has_no_label(market_of):
    market = market_of({"A": [100.0, 101.0, 102.0], "B": [10.0, 10.0, None]})
    labels = compute_labels(market, [T0], [2, 3])
    assert labels["mature"].to_list() == [True, False, True, False]
    immature = labels.filter(~pl.col("mature"))
    assert immature["matures"].unique().to_list() == [date(2018, 1, 5)]
    for column in ("label", "label_next_open", "total_return", "label_flag"):
        assert immature[column].null_count() == immature.height


def test_a_benchmark_that_misses_dates_stands_at_its_last_price(market_of):
    benchmark = [(None, 1000.0), None, (1090.0, 1100.0), None]
    market = market_of({"A": [100.0] * 4}, benchmark=benchmark)
    assert label_of(market, "A", 1)["label"] == pytest.approx(0.0)
    assert label_of(market, "A", 2)["label"] == pytest.approx(-0.1)
    assert label_of(market, "A", 3)["label"] == pytest.approx(-0.1)
    # Entered at its last close, where it has no open at t+1.
    assert label_of(market, "A", 2)["label_next_open"] == pytest.approx(100 / 99 - 1.1)


def test_a_benchmark_that_ended_gives_no_label_instead_of_the_total_return(market_of):
    market = market_of({"A": [100.0] * 40}, benchmark=[(10.0, 10.0)] * 5)
    later = market.calendar.offset(T0, 20)
    row = label_of(market, "A", 5, asof=later)
    assert (row["label"], row["label_next_open"], row["total_return"]) == (None, None, 0.0)
    assert (row["mature"], row["label_flag"]) == (True, "no benchmark")


def test_prices_are_adjusted(market_of):
    split = market_of(
        {"A": [100.0, 55.0, 60.0]},
        opens={"A": [100.0, 52.0, 55.0]},
        factors={"A": [0.5, 1.0, 1.0]},
        benchmark=[(1.0, 1.0)] * 3,
    )
    row = label_of(split, "A", 2)
    assert row["total_return"] == pytest.approx(0.2)
    assert row["label_next_open"] == pytest.approx(60 / 52 - 1)


def test_a_later_split_changes_no_label(random_market, nyse):
    asofs = nyse.rebalances(date(2019, 1, 1), date(2019, 12, 31), "monthly")
    acted = random_market.bars.with_columns(adj_factor=pl.col("adj_factor") / 7)
    other = type(random_market)(**{**vars_of(random_market), "bars": acted})
    assert_frame_equal(
        compute_labels(random_market, asofs, [5, 20]),
        compute_labels(other, asofs, [5, 20]),
        rel_tol=1e-9,
        abs_tol=1e-12,
    )


def vars_of(market) -> dict:
    names = ("bars", "benchmark", "volatility_index", "calendar", "quarantine", "drops")
    return {name: getattr(market, name) for name in names} | {"data_hash": ""}


def test_a_label_known_by_a_date_does_not_depend_on_later_bars(random_market, with_noise_after):
    days = random_market.bars["date"].unique().sort()
    cut = days[450]
    asofs = days[400:450].to_list()
    known = pl.col("matures") <= cut
    columns = [name for name in LABELS if name != "label_flag"]
    assert_frame_equal(
        compute_labels(random_market, asofs, [1, 5, 20]).filter(known).select(columns),
        compute_labels(with_noise_after(random_market, cut), asofs, [1, 5, 20])
        .filter(known)
        .select(columns),
        check_exact=True,
    )


def test_against_a_loop(random_market):
    """The definition, one row at a time."""
    calendar = random_market.calendar
    days = random_market.bars["date"].unique().sort().to_list()
    asofs = days[290:320:7]
    closes = {(t, d): c for d, t, c in random_market.bars.select("date", "ticker", "close").rows()}
    index = dict(random_market.benchmark.select("date", "close").rows())

    def last(prices: dict, ticker: str, day: date) -> float:
        while (ticker, day) not in prices:
            day -= timedelta(1)
        return prices[ticker, day]

    for row in compute_labels(random_market, asofs, [1, 5, 20]).iter_rows(named=True):
        end = calendar.offset(row["asof"], row["horizon"])
        start = closes[row["ticker"], row["asof"]]
        total = last(closes, row["ticker"], end) / start - 1
        assert row["matures"] == end
        assert row["total_return"] == pytest.approx(total)
        assert row["label"] == pytest.approx(total - (index[end] / index[row["asof"]] - 1))


@pytest.mark.parametrize(
    ("asof", "horizon", "matures"),
    [
        (date(2018, 12, 31), 1, date(2019, 1, 2)),
        (date(2018, 11, 21), 2, date(2018, 11, 26)),
        (date(2018, 12, 4), 1, date(2018, 12, 6)),
    ],
)
def test_horizons_count_sessions_of_the_exchange(market_of, asof, horizon, matures):
    market = market_of({"A": [100.0] * 300})
    assert label_of(market, "A", horizon, asof)["matures"] == matures


def test_every_day_counts_on_24_7(market_of):
    market = market_of(
        {"BTC": [float(100 + i) for i in range(10)]},
        start=date(2024, 3, 1),
        calendar=TradingCalendar("24/7"),
        benchmark=[(1.0, 1.0)] * 10,
    )
    row = label_of(market, "BTC", 7, date(2024, 3, 1))
    assert (row["matures"], row["label"]) == (date(2024, 3, 8), pytest.approx(0.07))


def test_without_dates_or_horizons(random_market):
    for asofs, horizons in (([], [5]), ([T0], [])):
        assert compute_labels(random_market, asofs, horizons).schema == LABELS
    # A session after the last bar has no candidates.
    assert compute_labels(random_market, [date(2025, 1, 2)], [5]).is_empty()


@pytest.mark.parametrize(
    ("asofs", "horizons", "error", "message"),
    [
        (
            [T0, date(2018, 1, 6), date(2018, 1, 8)],
            [5],
            UsageError,
            "asof 2018-01-06 is not a session of XNYS",
        ),
        ([T0], [0, 5], ValueError, "a horizon is at least 1 session, not 0"),
    ],
)
def test_bad_requests(random_market, asofs, horizons, error, message):
    with pytest.raises(error) as caught:
        compute_labels(random_market, asofs, horizons)
    assert str(caught.value) == message


@pytest.mark.parametrize("benchmark", [True, False])
def test_labelling_dates_a_few_at_a_time_changes_nothing(random_market, monkeypatch, benchmark):
    market = random_market if benchmark else replace(random_market, benchmark=None)
    asofs = market.bars["date"].unique().sort().to_list()[::3]
    whole = compute_labels(market, asofs, [5, 20])
    assert whole.height > 800
    monkeypatch.setattr(engine.features.labels, "_ASOFS_AT_A_TIME", 7)
    assert_frame_equal(whole, compute_labels(market, asofs, [5, 20]), check_exact=True)
