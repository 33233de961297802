"""Scores made elsewhere: `model.name: scores:FILE` judges them and scores nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import polars as pl

from engine.calendar import TradingCalendar
from engine.config.settings import EvaluationSettings
from engine.data.contract import instant, session_day
from engine.data.market import Market
from engine.data.membership import NOT_A_MEMBER, is_member
from engine.decisions.dates import Span
from engine.errors import UsageError
from engine.scoring.score import Scored
from engine.scoring.scores import SCORES_SCHEMA

__all__ = ["given_scores", "read_scores"]

REQUIRED = ("asof", "ticker", "horizon", "score")


def given_scores(
    path: Path, market: Market, span: Span | EvaluationSettings, *, horizons: Sequence[int]
) -> Scored:
    """The file's scores that belong to the market and the span; the others counted.

    Raises UsageError naming the file when none is left, or when an asof is not a session.
    """
    scores = read_scores(path, horizons, market.calendar)
    first, last = market.bars["date"].min(), market.bars["date"].max()
    asof, ticker = pl.col("asof"), pl.col("ticker")
    members = market.members
    stranger = pl.lit(False) if members is None else ~is_member(scores, members)
    kept = scores.with_columns(
        pl.when(asof.is_null() | ticker.is_null())
        .then(pl.lit("score without asof or ticker"))
        .when(~ticker.is_in(market.tickers))
        .then(pl.lit("score of a ticker that the data lack"))
        .when(~asof.is_between(first, last))
        .then(pl.lit("score of a date outside the data"))
        .when(~asof.is_between(span.start or first, span.end or last))
        .then(pl.lit("score outside evaluation.start and evaluation.end"))
        .when(pl.col("status") == "failed")
        .then(pl.lit("score missing or not finite"))
        .when(stranger)
        .then(pl.lit(NOT_A_MEMBER))
        .alias("dropped")
    )
    counts = kept.drop_nulls("dropped")["dropped"].value_counts().sort("dropped")
    scores = kept.filter(pl.col("dropped").is_null()).drop("dropped")
    dropped = dict(counts.iter_rows())
    if scores.is_empty():
        said = ", ".join(f"{n} × {reason}" for reason, n in dropped.items())
        raise UsageError(f"{path}: no score can be judged ({said or 'the file is empty'})")
    for day in scores["asof"].unique().sort():
        if not market.calendar.is_session(day):
            who = scores.filter(asof == day)["ticker"][0]
            raise UsageError(
                f"{path}: {who} has a score at {day}, which is not a session of "
                f"{market.calendar.name}"
            )
    return Scored(scores, "", {"forecaster": f"scores:{path}"}, {}, {}, {}, dropped)


def read_scores(path: Path, horizons: Sequence[int], calendar: TradingCalendar) -> pl.DataFrame:
    """The scores table from a Parquet or CSV file with asof, ticker, horizon and score.

    An asof is the date of a session, or its close. Other columns of the contract are taken when
    present. Scores that are null or not finite have status failed. Raises UsageError naming the
    file and what is missing, doubled, or no session.
    """
    if not path.is_file():
        raise UsageError(f"model.name: scores file not found: {path}")
    try:
        if path.suffix == ".csv":
            frame = _read_csv(path)
        else:
            frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path}: not a readable scores file: {reason}") from None
    lacking = [column for column in REQUIRED if column not in frame.columns]
    if lacking:
        raise UsageError(f"{path}: missing column {', '.join(lacking)}; has {frame.columns}")
    frame = _with_sessions(frame, path, calendar)
    known = pl.Schema({n: kind for n, kind in SCORES_SCHEMA.items() if n in frame.columns})
    try:
        frame = frame.select(*known).cast(known)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"{path}: {str(error).splitlines()[0]}") from None
    doubled = frame.filter(pl.struct("asof", "ticker", "horizon").is_duplicated())
    if doubled.height:
        asof, ticker, horizon = doubled.select(REQUIRED[:3]).row(0)
        raise UsageError(f"{path}: two scores for {ticker} at {asof}, horizon {horizon}")
    absent = sorted(set(horizons) - set(frame["horizon"].unique()))
    if absent:
        raise UsageError(f"{path}: no scores for scoring.horizons {absent}")
    good = pl.col("score").is_finite().fill_null(value=False)
    missing = [
        pl.lit(None, dtype=kind).alias(name)
        for name, kind in SCORES_SCHEMA.items()
        if name not in frame.columns
    ]
    frame = frame.with_columns(missing).with_columns(
        pl.when(good).then("score").alias("score"),
        pl.when(good).then(pl.lit("ok")).otherwise(pl.lit("failed")).alias("status"),
        pl.when(good).then("reason").otherwise(pl.lit("score is not finite")).alias("reason"),
        pl.col("n_paths").fill_null(0),
    )
    wanted = frame.filter(pl.col("horizon").is_in(list(horizons)))
    return wanted.select(*SCORES_SCHEMA).sort("asof", "ticker", "horizon")


def _read_csv(path: Path) -> pl.DataFrame:
    frame = pl.read_csv(path, try_parse_dates=True)
    kind = frame.schema.get("asof")
    if isinstance(kind, pl.Datetime) and kind.time_zone:
        # Its parser turns a written zone into UTC; the text says at which midnight it stood.
        return pl.read_csv(path, try_parse_dates=True, schema_overrides={"asof": pl.String})
    return frame


def _with_sessions(frame: pl.DataFrame, path: Path, calendar: TradingCalendar) -> pl.DataFrame:
    """`frame` with `asof` as the dates of sessions."""
    zone = calendar.zone
    given = frame["asof"]
    day = session_day("asof", given.dtype, source=str(path), zone=zone)
    read = frame.select(day)["asof"]
    unread = given.is_not_null() & read.is_null()
    if unread.any() and given.dtype not in (pl.Date, pl.Null):
        closes = _closes(given, path, calendar)
        read = pl.select(pl.when(unread).then(closes).otherwise(read)).to_series()
        unread = given.is_not_null() & read.is_null()
    if unread.any():
        who, value = frame.filter(unread).select("ticker", pl.col("asof").cast(pl.String)).row(0)
        raise UsageError(
            f"{path}: column `asof`: {value} ({who}) is neither a midnight, here or in {zone}, nor "
            f"the close of a session of {calendar.name}: write the session's date, YYYY-MM-DD"
        )
    return frame.with_columns(read.alias("asof"))


def _closes(given: pl.Series, path: Path, calendar: TradingCalendar) -> pl.Series:
    """The sessions that close at these times, null where none does."""
    time = instant("asof", given.dtype, source=str(path), zone=calendar.zone)
    times = given.to_frame().select(close=time)["close"]
    known = times.drop_nulls()
    if known.is_empty():
        return pl.repeat(None, len(times), dtype=pl.Date, eager=True)
    week = timedelta(days=7)
    hours = calendar.schedule(known.min().date() - week, known.max().date() + week)  # type: ignore[union-attr]
    found = times.to_frame().join(hours, on="close", how="left", maintain_order="left")
    return found["date"]
