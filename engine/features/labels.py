"""Labels: what a ticker earned over the sessions after an asof, beside its benchmark.

1. `_grid` lays the bars out densely, session by session, so that h sessions ahead is one shift.
2. `_returns` takes P(t), O(t+1) and P(t+h); a ticker without a bar at t+h gives its last price
   before it, and a flag.
3. `_subtract_benchmark`, or `_subtract_mean` without one, leaves the label.

Labels know the future by definition; `matures` says when. A label whose `matures` lies after the
last session of the market is null.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import polars as pl

from engine.data import Market
from engine.errors import UsageError
from engine.features.factors import adjusted_close
from engine.features.known import attach_known

__all__ = ["LABELS", "compute_labels"]

LABELS = pl.Schema(
    {
        "asof": pl.Date,
        "ticker": pl.String,
        "horizon": pl.Int32,
        "label": pl.Float64,
        "label_next_open": pl.Float64,
        "total_return": pl.Float64,
        "matures": pl.Date,
        "mature": pl.Boolean,
        "label_flag": pl.String,
    }
)


def compute_labels(market: Market, asofs: Sequence[date], horizons: Sequence[int]) -> pl.DataFrame:
    """Label of every ticker with a bar at an asof, for every horizon.

    With P the adjusted close, O the adjusted open and b the benchmark:

    - total_return = P(t+h)/P(t) − 1
    - label = total_return − (b(t+h)/b(t) − 1)
    - label_next_open = P(t+h)/O(t+1) − 1 − (b(t+h)/b_open(t+1) − 1); null without a bar at t+1.
      A benchmark without an open at t+1 is entered at its last close at or before t.

    Without a benchmark, the mean over the asof's labelled tickers takes its place. A benchmark
    date without a row takes the last price before it.

    Parameters
    ----------
    market
        Candidates, benchmark and calendar.
    asofs
        Sessions of the calendar.
    horizons
        Sessions ahead, each at least 1.

    Returns
    -------
    asof, ticker, horizon, label, label_next_open, total_return, matures (the session t+h), mature
    (t+h is not after the market's last session) and label_flag, sorted by the first three.

    label_flag is "delisted" where the ticker's last bar came before t+h and its last price was
    taken, "stale" where it trades again later, "no benchmark" where the benchmark has no price
    (`known.MAX_AGE`) and the label is null.

    Raises
    ------
    UsageError
        An asof is not a session.
    """
    if min(horizons, default=1) < 1:
        raise ValueError(f"a horizon is at least 1 session, not {min(horizons)}")
    if not asofs or not horizons:
        return pl.DataFrame(schema=LABELS)
    ahead = sorted(set(horizons))
    sessions = market.calendar.sessions(min(asofs), market.calendar.offset(max(asofs), max(ahead)))
    strangers = sorted(set(asofs).difference(sessions))
    if strangers:
        raise UsageError(f"asof {strangers[0]} is not a session of {market.calendar.name}")
    rows = _returns(_grid(market, sessions), market, asofs, ahead)
    subtract = _subtract_mean if market.benchmark is None else _subtract_benchmark
    return subtract(rows, market).select(pl.col(name).cast(dtype) for name, dtype in LABELS.items())


def _grid(market: Market, sessions: list[date]) -> pl.DataFrame:
    """One row per session and ticker, sorted so, with open and close null where there is no bar.

    Columns asof (the session), ticker, last_bar (the ticker's last date in the data), open, close.
    """
    names = pl.Enum(market.tickers)
    bars = market.bars.select(
        pl.col("ticker").cast(names),
        asof="date",
        open=pl.col("open") * pl.col("adj_factor"),
        close=adjusted_close(),
    )
    tickers = bars.group_by("ticker").agg(last_bar=pl.col("asof").max()).sort("ticker")
    days = pl.DataFrame({"asof": sessions}, schema={"asof": pl.Date})
    return days.join(tickers, how="cross", maintain_order="left_right").join(
        bars, on=["asof", "ticker"], how="left", maintain_order="left"
    )


def _returns(
    grid: pl.DataFrame, market: Market, asofs: Sequence[date], horizons: list[int]
) -> pl.DataFrame:
    """Per asof, ticker with a bar and horizon: returns, maturity and flag, sorted by the three.

    Columns asof, ticker, horizon, next (session t+1), matures, mature, total_return,
    return_next_open, label_flag.
    """
    width = len(market.tickers)
    had_bar = pl.col("close").is_not_null()
    known = grid.with_row_index("at").with_columns(
        price=pl.col("close").forward_fill().over("ticker"),
        priced=pl.when(had_bar).then("asof").forward_fill().over("ticker"),
    )
    ahead = pl.DataFrame({"horizon": horizons}, schema={"horizon": pl.Int32})
    at = pl.col("at").cast(pl.Int64)
    exits = at + pl.col("horizon") * width
    rows = (
        known.filter(had_bar & pl.col("asof").is_in(asofs))
        .select("at", "asof", "ticker", "last_bar", entry="close")
        .join(ahead, how="cross", maintain_order="left_right")
        .with_columns(
            next=pl.lit(known["asof"]).gather(at + width),
            entry_next=pl.lit(known["open"]).gather(at + width),
            matures=pl.lit(known["asof"]).gather(exits),
            exit=pl.lit(known["price"]).gather(exits),
            priced=pl.lit(known["priced"]).gather(exits),
        )
    )
    mature = pl.col("matures") <= market.last_session
    gone = pl.col("last_bar") < pl.col("matures")
    flag = pl.when(gone).then(pl.lit("delisted")).otherwise(pl.lit("stale"))
    return rows.with_columns(
        mature=mature,
        total_return=pl.when(mature).then(pl.col("exit") / pl.col("entry") - 1),
        return_next_open=pl.when(mature).then(pl.col("exit") / pl.col("entry_next") - 1),
        label_flag=pl.when(mature & (pl.col("priced") < pl.col("matures"))).then(flag),
    )


def _subtract_benchmark(rows: pl.DataFrame, market: Market) -> pl.DataFrame:
    benchmark = market.benchmark
    assert benchmark is not None
    windows = rows.select("asof", "horizon", "next", "matures").unique()
    for on, column in (("asof", "b_entry"), ("matures", "b_exit")):
        windows = attach_known(windows, benchmark, on=on, **{column: "close"})
    opens = benchmark.select(next="date", b_open="open")
    windows = windows.join(opens, on="next", how="left").select(
        "asof",
        "horizon",
        b=pl.col("b_exit") / pl.col("b_entry") - 1,
        b_next_open=pl.col("b_exit") / pl.coalesce("b_open", "b_entry") - 1,
    )
    priced = pl.col("b").is_not_null() | ~pl.col("mature")
    return rows.join(
        windows, on=["asof", "horizon"], how="left", maintain_order="left"
    ).with_columns(
        label=pl.col("total_return") - pl.col("b"),
        label_next_open=pl.col("return_next_open") - pl.col("b_next_open"),
        label_flag=pl.when(priced).then("label_flag").otherwise(pl.lit("no benchmark")),
    )


def _subtract_mean(rows: pl.DataFrame, _market: Market) -> pl.DataFrame:
    def excess(column: str) -> pl.Expr:
        return pl.col(column) - pl.col(column).mean().over("asof", "horizon")

    return rows.with_columns(
        label=excess("total_return"), label_next_open=excess("return_next_open")
    )
