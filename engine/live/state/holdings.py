"""Positions as our own fills make them, and equity as the broker tells it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime

import polars as pl

from engine.live.brokers.broker import Account, Fill, Position, average_price
from engine.live.state.database import Database, naive

__all__ = ["Holdings"]

_DIGITS = 9
EQUITY = pl.Schema(
    [
        ("session", pl.Date),
        ("phase", pl.String),
        ("ts", pl.Datetime("us")),
        ("equity", pl.Float64),
        ("cash", pl.Float64),
    ]
)


class Holdings:
    """The tables positions, adoptions and equity."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def positions(self) -> dict[str, Position]:
        """Ticker to position, as the recorded fills and the adopted positions make it."""
        query = "SELECT ticker, quantity, average_price FROM positions ORDER BY ticker"
        return {row[0]: Position(*row) for row in self._database.rows(query)}

    @property
    def adopted(self) -> bool:
        """Whether the broker's positions have ever been taken over."""
        return bool(self._database.rows("SELECT 1 FROM adoptions LIMIT 1"))

    def adopt(self, positions: Mapping[str, Position], at: datetime) -> None:
        """Take the broker's positions for ours: at the first start, or after a person said so."""
        with self._database.transaction():
            self._database.execute("DELETE FROM positions")
            rows = [(p.ticker, p.quantity, p.average_price) for p in positions.values()]
            self._database.insert("positions", rows)
            held = {p.ticker: p.quantity for p in positions.values()}
            self._database.insert("adoptions", [(naive(at), json.dumps(held, sort_keys=True))])

    def apply(self, fill: Fill) -> None:
        """Change the position by an execution; the average price is that of what was opened."""
        held = self.positions().get(fill.ticker, Position(fill.ticker, 0.0, 0.0))
        change = fill.quantity if fill.side == "buy" else -fill.quantity
        # Fractions come in billionths of a share; sums of floats would leave dust beside them.
        quantity = round(held.quantity + change, _DIGITS)
        self._database.execute("DELETE FROM positions WHERE ticker = ?", [fill.ticker])
        if quantity:
            price = average_price(held.average_price, held.quantity, change, fill.price)
            self._database.insert("positions", [(fill.ticker, quantity, price)])

    def record_equity(self, session: date, phase: str, account: Account, at: datetime) -> None:
        """Equity and cash of a phase, in place of what was recorded for it before."""
        self._database.execute(
            "INSERT OR REPLACE INTO equity VALUES (?, ?, ?, ?, ?)",
            [session, phase, naive(at), account.equity, account.cash],
        )

    def equity(self) -> pl.DataFrame:
        """session, phase, ts (UTC), equity, cash, sorted by ts."""
        rows = self._database.rows("SELECT * FROM equity ORDER BY ts, session")
        frame = pl.DataFrame(rows, schema=EQUITY, orient="row")
        return frame.with_columns(pl.col("ts").dt.replace_time_zone("UTC"))
