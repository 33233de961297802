"""Orders as they are planned, sent, reported on and filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from datetime import date, datetime
from typing import Any

import polars as pl

from engine.live.brokers.broker import CLOSED, Fill, Order, OrderReport, OrderStatus
from engine.live.orders import FILLS, OrderRecord, PlannedOrder
from engine.live.state.database import Database, aware, naive, utc
from engine.live.state.holdings import Holdings

__all__ = ["Orders"]

_EPSILON = 1e-9
_PLANNED = (
    "client_id, ticker, side, quantity, price_limit, session, stage, leg, attempt, rank, "
    "plan_hash, reference"
)
_FILL = "fill_id, client_id, ticker, side, quantity, price, ts, fees"
_BROKERS = "status, filled, average_price, broker_id, reason, created, sent, updated"


class Orders:
    """The tables orders, order_events and fills."""

    def __init__(self, database: Database, holdings: Holdings) -> None:
        self._database = database
        self._holdings = holdings

    def plan(self, orders: Sequence[PlannedOrder], at: datetime) -> None:
        """Write orders down before any of them is sent."""
        rows = []
        for planned in orders:
            sent, *place = astuple(planned)
            rows.append((*sent, *place, naive(at), "planned", 0.0))
        with self._database.transaction():
            self._database.insert(f"orders ({_PLANNED}, created, status, filled)", rows)

    def of(self, session: date) -> list[OrderRecord]:
        """The session's orders in the order of sending."""
        return self._read("session = ?", [session])

    def unsettled(self) -> list[OrderRecord]:
        """Orders that were sent and are open, or whose fills are not all known."""
        return self._read(
            f"""sent IS NOT NULL AND (status NOT IN {tuple(sorted(CLOSED))} OR filled - {_EPSILON} >
            (SELECT coalesce(sum(f.quantity), 0) FROM fills f
             WHERE f.client_id = orders.client_id))""",
            [],
        )

    def sent_since(self, moment: datetime) -> list[datetime]:
        """When orders were sent, at or after `moment`, oldest first."""
        rows = self._database.rows(
            "SELECT sent FROM orders WHERE sent >= ? ORDER BY sent", [naive(moment)]
        )
        return [found for (sent,) in rows if (found := aware(sent)) is not None]

    def sending(self, client_id: str, at: datetime) -> None:
        """The order is about to be sent: from now on only the broker knows whether it was."""
        self._database.execute(
            "UPDATE orders SET sent = ? WHERE client_id = ?", [naive(at), client_id]
        )

    def report(self, report: OrderReport, at: datetime) -> bool:
        """Take the broker's word; False for one older than what is known, which changes nothing."""
        with self._database.transaction():
            known = self._database.rows(
                "SELECT updated, status, filled FROM orders WHERE client_id = ?",
                [report.client_id],
            )
            if not known or not _is_news(known[0], report):
                return False
            word = (report.status, report.filled, report.average_price)
            where = (naive(report.updated), report.reason, naive(at), report.client_id)
            self._database.execute(
                """UPDATE orders SET status = ?, filled = ?, average_price = ?, broker_id = ?,
                updated = ?, reason = ?, sent = coalesce(sent, ?) WHERE client_id = ?""",
                [*word, report.broker_id, *where],
            )
            self._event(report.client_id, at, report.updated, *word, report.reason)
        return True

    def close(self, client_id: str, status: OrderStatus, reason: str, at: datetime) -> None:
        """Our own word where the broker has none: refused at the door, or never sent."""
        with self._database.transaction():
            self._database.execute(
                "UPDATE orders SET status = ?, reason = ?, updated = ? WHERE client_id = ?",
                [status, reason, naive(at), client_id],
            )
            self._event(client_id, at, at, status, 0.0, None, reason)

    def fill(self, fills: Sequence[Fill]) -> int:
        """Record executions of our orders that are not known yet; positions follow.

        Returns how many were new.
        """
        fresh = 0
        with self._database.transaction():
            for fill in fills:
                if not self._is_ours_and_unknown(fill):
                    continue
                row = (*astuple(fill)[:6], naive(fill.ts), fill.fees)
                self._database.insert(f"fills ({_FILL})", [row])
                self._holdings.apply(fill)
                fresh += 1
        return fresh

    def fills(self, session: date) -> list[Fill]:
        """Executions of the session's orders, oldest first."""
        rows = self._database.rows(
            """SELECT f.fill_id, f.client_id, f.ticker, f.side, f.quantity, f.price, f.ts, f.fees
            FROM fills f JOIN orders o USING (client_id) WHERE o.session = ?
            ORDER BY f.ts, f.fill_id""",
            [session],
        )
        return [Fill(*[*row[:6], utc(row[6]), row[7]]) for row in rows]

    def all_fills(self) -> pl.DataFrame:
        """Every execution: session, ticker, side, quantity, price, reference, by session and time.

        `reference` is the close that the plan was decided on; null where it had none.
        """
        rows = self._database.rows(
            """SELECT o.session, f.ticker, f.side, f.quantity, f.price, t.close
            FROM fills f JOIN orders o USING (client_id)
            LEFT JOIN targets t ON t.session = o.session AND t.ticker = f.ticker
            ORDER BY o.session, f.ts, f.fill_id"""
        )
        return pl.DataFrame(rows, schema=FILLS, orient="row")

    def _is_ours_and_unknown(self, fill: Fill) -> bool:
        query = """SELECT (SELECT count(*) FROM orders WHERE client_id = ?),
                          (SELECT count(*) FROM fills WHERE fill_id = ?)"""
        ours, known = self._database.rows(query, [fill.client_id, fill.fill_id])[0]
        return bool(ours) and not known

    def _event(self, client_id: str, at: datetime, updated: datetime, *rest: object) -> None:
        row = (client_id, naive(at), naive(updated), *rest)
        self._database.insert("order_events", [row])

    def _read(self, condition: str, values: Sequence[Any]) -> list[OrderRecord]:
        rows = self._database.rows(
            f"""SELECT {_PLANNED}, {_BROKERS} FROM orders WHERE {condition}
            ORDER BY session, stage, rank, attempt""",
            values,
        )
        return [_record(row) for row in rows]


def _is_news(known: tuple[Any, ...], report: OrderReport) -> bool:
    updated, status, filled = aware(known[0]), known[1], known[2]
    if updated is None:
        return True
    if report.updated == updated:
        return bool((report.status, report.filled) != (status, filled)) and report.filled >= filled
    return report.updated > updated


def _record(row: tuple[Any, ...]) -> OrderRecord:
    order, place = Order(*row[:5]), row[5:12]
    status, filled, price, broker_id, reason, created, sent, updated = row[12:]
    return OrderRecord(
        planned=PlannedOrder(order, *place),
        status=status,
        filled=filled,
        average_price=price,
        broker_id=broker_id,
        reason=reason,
        created=utc(created),
        sent=aware(sent),
        updated=aware(updated),
    )
