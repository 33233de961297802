"""Alpaca behind `Broker` and `QuoteSource`, through alpaca-py (extra `live`).

The paper account is the default; real money needs two switches (`calls.open_trading`).
Orders are good for the day: one sent after the close waits for the next open.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import polars as pl

from engine.alpaca_keys import read_keys
from engine.config.live import AlpacaSettings
from engine.live.brokers.alpaca import answers as from_json
from engine.live.brokers.alpaca.calls import (
    Calls,
    Keys,
    RefusedError,
    open_data,
    open_trading,
)
from engine.live.brokers.broker import (
    CLOSED,
    QUOTES,
    Account,
    Asset,
    BrokerDownError,
    BrokerError,
    Fill,
    Order,
    OrderRefusedError,
    OrderReport,
    Position,
)

__all__ = ["AlpacaBroker", "AlpacaQuotes"]

_PAGE = 100
_ORDERS = 500
# Orders are good for the day, so what is filled now was sent after the close before, or, over
# holidays, some days ago.
_OLDEST_ORDER = timedelta(days=7)
# Up to so many assets are asked for one by one: the list of all is some megabytes.
_SINGLY = 20
_AT_ONCE = 100


class AlpacaBroker:
    """Implements `Broker` on an account at Alpaca.

    Parameters
    ----------
    settings
        `live.alpaca`.
    environ
        Where the keys and the second switch are.
    wait
        Sleeps between attempts.

    Raises
    ------
    UsageError
        A missing key, switch or package; see `open_trading`.
    """

    name = "alpaca"

    def __init__(
        self,
        settings: AlpacaSettings,
        *,
        environ: Mapping[str, str] = os.environ,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        keys = read_keys("live.broker alpaca", environ)
        self._calls = Calls(keys, settings.retries, wait)
        self._client = open_trading(settings, keys, environ)
        self._quotes = AlpacaQuotes(settings, keys, self._calls)
        self._newest: dict[str, OrderReport] = {}
        self._client_ids: dict[str, str] = {}

    def account(self) -> Account:
        """As Alpaca values it."""
        raw = self._calls.ask("account", self._client.get_account)
        return from_json.read("account", from_json.account, raw)

    def positions(self) -> dict[str, Position]:
        """By ticker, sorted."""
        raw = self._calls.ask("positions", self._client.get_all_positions)
        found = [from_json.read("positions", from_json.position, row) for row in raw]
        return {held.ticker: held for held in sorted(found, key=lambda held: held.ticker)}

    def assets(self, tickers: Sequence[str]) -> dict[str, Asset]:
        """One by one for a few, of the list of all active ones for many."""
        wanted = sorted(set(tickers))
        if len(wanted) > _SINGLY:
            rows = self._calls.ask("assets", self._active_assets)
        else:
            get = self._client.get_asset
            asked = [self._calls.find(f"asset {name}", partial(get, name)) for name in wanted]
            rows = [raw for raw in asked if raw is not None]
        known = set(wanted)
        found = [
            from_json.read("assets", from_json.asset, raw)
            for raw in rows
            if raw.get("symbol") in known
        ]
        return {asset.ticker: asset for asset in found}

    def quotes(self, tickers: Sequence[str]) -> pl.DataFrame:
        """The latest of Alpaca's data, of the feed of `live.alpaca.feed`."""
        return self._quotes.quotes(tickers)

    def submit(self, order: Order) -> OrderReport:
        """Send the order; where it is not known whether it arrived, look before sending again.

        A limit is rounded to what Alpaca takes (cents; from 1 dollar down hundredths of one), to
        the side that fills less.
        """
        request, what = _request(order), f"order {order.client_id}"
        for attempt in range(self._calls.retries + 1):
            try:
                raw = self._calls.once(what, lambda: self._client.submit_order(request))
                return self._take(raw, order)
            except BrokerDownError as error:
                known = None
                if attempt < self._calls.retries:
                    self._calls.rest(attempt, error)
                    known = self._find(order.client_id)
                if known is not None:
                    return self._take(known, order)
                down = error
            except RefusedError as error:
                if not _is_taken(error):
                    if error.about_keys:
                        raise
                    refusal = f"{order.ticker}: alpaca refuses it: {error.status} {error.message}"
                    raise OrderRefusedError(refusal) from None
                known = self._find(order.client_id)
                if known is not None:
                    return self._take(known, order)
                down = BrokerDownError(f"alpaca: {what}: taken, and not to be found")
        raise down

    def order(self, client_id: str) -> OrderReport | None:
        """The newest report seen: one that is older than another before it changes nothing."""
        raw = self._find(client_id)
        return None if raw is None else self._newer(raw)

    def fills(self, since: datetime) -> list[Fill]:
        """From account activities, page by page."""
        # Alpaca leaves out what is exactly of `after`.
        after = (since - timedelta(seconds=1)).isoformat()
        page: dict[str, Any] = {"after": after, "direction": "asc", "page_size": _PAGE}
        found: dict[str, Fill] = {}
        while True:
            rows = self._calls.ask("fills", partial(self._activities, dict(page)))
            if {str(row.get("order_id")) for row in rows} - self._client_ids.keys():
                self._learn(since - _OLDEST_ORDER)
            for row in rows:
                client_id = self._client_id(str(row.get("order_id")))
                parse = partial(from_json.fill, client_id=client_id)
                one = from_json.read("fills", parse, row)
                found[one.fill_id] = one
            if len(rows) < _PAGE:
                break
            page["page_token"] = rows[-1]["id"]
        recent = [one for one in found.values() if one.ts >= since]
        return sorted(recent, key=lambda one: (one.ts, one.fill_id))

    def cancel(self, client_id: str) -> None:
        """Ask for it; an order that was filled in between stays filled."""
        report = self.order(client_id)
        if report is None or report.status in CLOSED:
            return
        try:
            self._calls.ask(
                f"cancel {client_id}", lambda: self._client.cancel_order_by_id(report.broker_id)
            )
        except RefusedError as error:
            if error.status not in (404, 422):
                raise

    def close(self) -> None:
        """Let go of connections."""
        self._client._session.close()
        self._quotes.close()

    def _take(self, raw: Mapping[str, Any], order: Order) -> OrderReport:
        report = self._newer(raw)
        sent = (order.ticker, order.side, order.quantity)
        if (report.ticker, report.side) != sent[:2] or not math.isclose(report.quantity, sent[2]):
            raise BrokerError(
                f"client id {order.client_id} is that of another order: "
                f"{report.side} {report.quantity:g} {report.ticker}"
            )
        return report

    def _newer(self, raw: Mapping[str, Any]) -> OrderReport:
        report = from_json.read("order", from_json.report, raw)
        self._client_ids[report.broker_id] = report.client_id
        known = self._newest.get(report.client_id)
        if known is None or _age(report) >= _age(known):
            self._newest[report.client_id] = report
        return self._newest[report.client_id]

    def _find(self, client_id: str) -> dict[str, Any] | None:
        get = self._client.get_order_by_client_id
        return self._calls.find(f"order {client_id}", partial(get, client_id))

    def _learn(self, after: datetime) -> None:
        """The ids of orders sent later than `after`, hundreds a request."""
        from alpaca.common.enums import Sort
        from alpaca.trading.enums import QueryOrderStatus
        from alpaca.trading.requests import GetOrdersRequest

        while True:
            wanted = GetOrdersRequest(
                status=QueryOrderStatus.ALL, limit=_ORDERS, after=after, direction=Sort.ASC
            )
            rows = self._calls.ask("orders", partial(self._client.get_orders, wanted))
            # Others may trade in the account too: of their orders nothing but the ids is read.
            self._client_ids |= {str(row["id"]): str(row["client_order_id"]) for row in rows}
            last = after if not rows else datetime.fromisoformat(rows[-1]["submitted_at"])
            if len(rows) < _ORDERS or last <= after:
                return
            after = last

    def _client_id(self, broker_id: str) -> str:
        if broker_id not in self._client_ids:
            raw = self._calls.ask("order", lambda: self._client.get_order_by_id(broker_id))
            self._client_ids[broker_id] = str(raw["client_order_id"])
        return self._client_ids[broker_id]

    def _activities(self, page: dict[str, Any]) -> list[dict[str, Any]]:
        return list(self._client.get("/account/activities/FILL", page))

    def _active_assets(self) -> list[dict[str, Any]]:
        from alpaca.trading.enums import AssetClass, AssetStatus
        from alpaca.trading.requests import GetAssetsRequest

        wanted = GetAssetsRequest(status=AssetStatus.ACTIVE, asset_class=AssetClass.US_EQUITY)
        return list(self._client.get_all_assets(wanted))


def _request(order: Order) -> Any:
    from alpaca.trading.enums import OrderSide, TimeInForce
    from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

    if not 0 < order.quantity < math.inf:
        raise OrderRefusedError(f"{order.ticker}: a quantity of {order.quantity} cannot be traded")
    given: dict[str, Any] = {
        "symbol": order.ticker,
        "qty": round(order.quantity, 9),
        "side": OrderSide(order.side),
        "time_in_force": TimeInForce.DAY,
        "client_order_id": order.client_id,
    }
    if order.limit is None:
        return MarketOrderRequest(**given)
    return LimitOrderRequest(**given, limit_price=_tick(order.limit, order.side == "buy"))


def _tick(limit: float, buys: bool) -> float:
    if not 0 < limit < math.inf:
        raise OrderRefusedError(f"a limit of {limit} is no price")
    digits = 2 if limit >= 1 else 4
    parts = round(limit * 10**digits, 6)
    return float((math.floor(parts) if buys else math.ceil(parts)) / 10**digits)


def _is_taken(error: RefusedError) -> bool:
    """Whether the order's id is one Alpaca has: 422 "client_order_id must be unique"."""
    words = error.message.lower().replace("_", " ")
    return error.status in (403, 409, 422) and "client order id must be unique" in words


def _age(report: OrderReport) -> tuple[datetime, float, bool]:
    return report.updated, report.filled, report.status in CLOSED


class AlpacaQuotes:
    """A `QuoteSource` of the present; what it is asked for times gone by is of now."""

    replays = False

    def __init__(self, settings: AlpacaSettings, keys: Keys, calls: Calls | None = None) -> None:
        self._client = open_data(settings, keys)
        self._calls = calls or Calls(keys, settings.retries)
        self._feed = settings.feed

    def quotes(self, tickers: Sequence[str], now: datetime | None = None) -> pl.DataFrame:
        """`QUOTES`; a ticker that is not known, or has one side only, is left out.

        Raises
        ------
        BrokerDownError, BrokerError
            No answer, or the keys are refused.
        """
        wanted = sorted(set(tickers))
        rows: list[tuple[str, datetime, float, float]] = []
        for first in range(0, len(wanted), _AT_ONCE):
            for ticker, raw in sorted(self._latest(wanted[first : first + _AT_ONCE]).items()):
                found = from_json.read(f"quote of {ticker}", from_json.quote, raw)
                if found is not None:
                    rows.append((ticker, *found))
        return pl.DataFrame(rows, schema=QUOTES, orient="row")

    def close(self) -> None:
        """Let go of connections."""
        self._client._session.close()

    def _latest(self, tickers: list[str]) -> dict[str, Any]:
        from alpaca.data.enums import DataFeed
        from alpaca.data.requests import StockLatestQuoteRequest

        wanted = StockLatestQuoteRequest(symbol_or_symbols=tickers, feed=DataFeed(self._feed))
        try:
            answer = self._calls.ask("quotes", lambda: self._client.get_stock_latest_quote(wanted))
        except RefusedError as error:
            if error.status not in (400, 404, 422):
                raise
            if len(tickers) == 1:
                return {}
            # One symbol that Alpaca does not know refuses them all: halve until it is alone.
            middle = len(tickers) // 2
            return self._latest(tickers[:middle]) | self._latest(tickers[middle:])
        return {ticker: raw for ticker, raw in dict(answer).items() if raw}
