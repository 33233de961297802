"""Splits that show in the prices of a store, taken as its actions when a person asks for it.

`engine.data.check` finds them; nothing is adopted silently. Only prices that no recorded factor
and no known action explains are looked at, so a second adoption finds nothing.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console

from engine.data.sources.base import ACTIONS
from engine.data.store.reader import PriceStore

if TYPE_CHECKING:
    from engine.data.store.writer import StoreWriter

__all__ = ["adopt_splits", "unexplained_splits"]

TICKERS_AT_ONCE = 200


def unexplained_splits(store: PriceStore) -> pl.DataFrame:
    """ticker, date, ratio of every split that shows in the adjusted prices, sorted."""
    from engine.data.check import detect_splits

    recorded = set(store.factors_recorded())
    names = [name for name in store.tickers() if name not in recorded]
    found = [
        detect_splits(store.bars(names[first : first + TICKERS_AT_ONCE]))
        for first in range(0, len(names), TICKERS_AT_ONCE)
    ]
    if not found:
        return pl.DataFrame(schema={"ticker": pl.String, "date": pl.Date, "ratio": pl.Float64})
    return pl.concat(found).select("ticker", "date", "ratio").sort("ticker", "date")


def adopt_splits(writer: StoreWriter, console: Console) -> dict[str, Any]:
    """Store them as actions, telling each; returns what the import did, for `--json`."""
    from engine.data.market import content_hash
    from engine.data.store.writer import Delivery

    splits = unexplained_splits(PriceStore.open(writer.path))
    if splits.is_empty():
        console.print("no split shows in the prices that the actions do not explain")
        return {"what": "splits seen in the prices", "rows": 0, "imported": False}
    actions = splits.select(
        "ticker", "date", kind=pl.lit("split"), value="ratio", in_prices=pl.lit(False)
    ).cast(ACTIONS)
    what = "splits seen in the prices"
    result = writer.add(Delivery(what, "detected", content_hash([actions]), actions=actions))
    for ticker, day, ratio in splits.select("ticker", "date", "ratio").iter_rows():
        console.print(f"adopted: {ticker} {day} {ratio:g} new shares per old", highlight=False)
    return {**asdict(result), "imported": True}
