"""A stand-in for Alpaca's server on loopback, that misbehaves as asked.

``python -m engine.bench.private.fake_alpaca --clock FILE --bars FILE [--port N] [--faults SEED]``

It speaks the part of the trading and market data API that the live engine uses, with Alpaca's own
field names, over one simulated account (`fake_account`). Its time is that of a replay's clock
file. It outlives the live process: what it was sent, and what it executed, is at GET /_fake/state.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

import polars as pl

from engine.bench.private.fake_account import AnswerError, FakeAccount
from engine.bench.private.fake_faults import Fault, Faults
from engine.calendar import TradingCalendar
from engine.live.brokers.bar_book import BarBook, fixed_book
from engine.live.clock import Clock, FileClock, SystemClock
from engine.live.hours import Hours

__all__ = ["FakeAlpaca", "main"]

_MOST_ACTIVITIES = 100


class FakeAlpaca:
    """A server that runs from entering to leaving it as a context.

    Parameters
    ----------
    account
        Whose orders it takes.
    faults
        What goes wrong.
    keys
        Key id and secret that it wants; None: any.
    hang_s
        How long a request that hangs is held; longer than the client's timeout.
    port
        0: any that is free.

    Attributes
    ----------
    asked
        Method and path of every request, with its query.
    posts
        Every order it was sent, in order, also those whose answer was lost or a refusal.
    faulted
        How often each kind of fault came.
    """

    def __init__(
        self,
        account: FakeAccount,
        faults: Faults | None = None,
        *,
        keys: tuple[str, str] | None = None,
        hang_s: float = 30.0,
        port: int = 0,
    ) -> None:
        self.account, self.faults, self.keys = account, faults or Faults(), keys
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.posts: list[dict[str, Any]] = []
        self.faulted: dict[str, int] = {}
        self._hours = Hours(account.calendar)
        self._stop = threading.Event()
        self._hang_s = hang_s
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeAlpaca:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def state(self) -> dict[str, Any]:
        """What a driver asserts on: posts, executions a client id, account and positions."""
        account = self.account
        with account.lock:
            sent = [str(post.get("client_order_id")) for post in self.posts]
            filled: dict[str, float] = {}
            for one in account.activities():
                client_id = account.client_id(one["order_id"])
                filled[client_id] = filled.get(client_id, 0.0) + float(one["qty"])
            return {
                "now": account.clock.now().isoformat(),
                "requests": len(self.asked),
                "posts": self.posts,
                "sent_again": len(sent) - len(set(sent)),
                "taken": len(account.taken),
                "filled": filled,
                "ordered": {
                    client_id: float(taken.request["qty"])
                    for client_id, taken in account.taken.items()
                },
                "faulted": self.faulted,
                "account": account.account(),
                "positions": account.positions(),
            }

    def hang(self) -> None:
        """Hold a request."""
        self._stop.wait(self._hang_s)

    def answer(
        self, method: str, path: str, query: dict[str, str], body: dict[str, Any], *, stale: bool
    ) -> Any:
        """The JSON of a request that nothing goes wrong with; None: no content."""
        account = self.account
        if path == "/v2/orders" and method == "POST":
            return account.submit(body)
        if path == "/v2/orders:by_client_order_id":
            return account.order(query["client_order_id"], stale=stale)
        if path.startswith("/v2/orders/"):
            client_id = account.client_id(path.rsplit("/", 1)[1])
            if method == "DELETE":
                return account.cancel(client_id)
            return account.order(client_id, stale=stale)
        if path.startswith("/v2/assets/"):
            return account.asset(unquote(path.rsplit("/", 1)[1]))
        routes: dict[str, Callable[[], Any]] = {
            "/v2/account": account.account,
            "/v2/positions": account.positions,
            "/v2/orders": lambda: self._orders(query),
            "/v2/assets": account.all_assets,
            "/v2/account/activities/FILL": lambda: self._activities(query),
            "/v2/clock": self._clock,
            "/v2/calendar": lambda: self._calendar(query),
            "/v2/stocks/quotes/latest": lambda: {
                "quotes": account.quotes(query["symbols"].split(","))
            },
        }
        if path not in routes:
            raise AnswerError(404, 40410000, f"endpoint not found: {path}")
        return routes[path]()

    def _orders(self, query: dict[str, str]) -> list[dict[str, Any]]:
        found = self.account.orders(query.get("status", "open"))
        after = query.get("after")
        if after is not None:
            found = [one for one in found if _time(one["submitted_at"]) > _time(after)]
        if query.get("direction", "desc") == "asc":
            found.reverse()
        return found[: min(int(query.get("limit", 50)), 500)]

    def _activities(self, query: dict[str, str]) -> list[dict[str, Any]]:
        after = query.get("after")
        found = [
            one
            for one in self.account.activities()
            if after is None or _time(one["transaction_time"]) > _time(after)
        ]
        if query.get("direction", "desc") == "desc":
            found.reverse()
        token = query.get("page_token")
        if token is not None:
            at = [one["id"] for one in found].index(token)
            found = found[at + 1 :]
        size = int(query.get("page_size", _MOST_ACTIVITIES))
        if size > _MOST_ACTIVITIES:
            raise AnswerError(422, 42210000, "page_size must be at most 100")
        return found[:size]

    def _clock(self) -> dict[str, Any]:
        now = self.account.clock.now()
        zone = ZoneInfo(self.account.calendar.zone)
        session, following = self._hours.at(now), self._hours.next(now)
        return {
            "timestamp": now.astimezone(zone).isoformat(),
            "is_open": session is not None,
            "next_open": following.open.astimezone(zone).isoformat(),
            "next_close": (session or following).close.astimezone(zone).isoformat(),
        }

    def _calendar(self, query: dict[str, str]) -> list[dict[str, str]]:
        zone = ZoneInfo(self.account.calendar.zone)
        start = date.fromisoformat(query.get("start", "2016-01-01")[:10])
        end = date.fromisoformat(query.get("end", "2029-12-31")[:10])
        return [
            {
                "date": day.isoformat(),
                "open": opening.astimezone(zone).strftime("%H:%M"),
                "close": closing.astimezone(zone).strftime("%H:%M"),
                "session_open": "0400",
                "session_close": "2000",
            }
            for day, opening, closing in self.account.calendar.schedule(start, end).iter_rows()
        ]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _handler(side: FakeAlpaca) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # One packet an answer: two would wait for each other's acknowledgement, 40 ms each time.
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._serve("GET")

        def do_POST(self) -> None:
            self._serve("POST")

        def do_DELETE(self) -> None:
            self._serve("DELETE")

        def _serve(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            if parts.path == "/_fake/state":
                self._send(200, json.dumps(side.state()))
                return
            fault = self._note(method, parts.path, query, body)
            if fault is not None and fault.kind in ("status", "garbage", "hang", "reset"):
                self._misbehave(fault)
                return
            status, answer = self._answer(
                method, parts.path, query, body, stale=fault is not None and fault.kind == "stale"
            )
            if fault is not None and fault.kind != "stale":
                self._misbehave(fault)
                return
            self._send(status, "" if answer is None else json.dumps(answer))

        def _note(self, method: str, path: str, query: dict[str, str], body: bytes) -> Fault | None:
            with side.account.lock:
                side.asked.append((method, path, query))
                if method == "POST":
                    side.posts.append(json.loads(body))
                fault = side.faults.next(method, path)
                if fault is not None:
                    side.faulted[fault.kind] = side.faulted.get(fault.kind, 0) + 1
                return fault

        def _answer(
            self, method: str, path: str, query: dict[str, str], body: bytes, *, stale: bool
        ) -> tuple[int, Any]:
            sent = (self.headers.get("APCA-API-KEY-ID"), self.headers.get("APCA-API-SECRET-KEY"))
            if not all(sent) or (side.keys is not None and sent != side.keys):
                return 401, {"code": 40110000, "message": "request is not authorized"}
            try:
                with side.account.lock:
                    given = json.loads(body) if body else {}
                    answer = side.answer(method, path, query, given, stale=stale)
            except AnswerError as error:
                return error.status, error.body
            return (204 if answer is None else 200), answer

        def _misbehave(self, fault: Fault) -> None:
            if fault.kind == "status":
                body = fault.body or json.dumps({"message": f"stand-in: {fault.status}"})
                self._send(fault.status, body, retry_after=fault.retry_after)
            elif fault.kind == "garbage":
                self._send(200, fault.body or "<html>a proxy's page</html>")
            else:
                if fault.kind.startswith("hang"):
                    side.hang()
                self._reset()

        def _send(self, status: int, body: str, *, retry_after: float | None = None) -> None:
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            if retry_after is not None:
                self.send_header("Retry-After", f"{retry_after:g}")
            if status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if status != 204:
                self.wfile.write(data)

        def _reset(self) -> None:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True

        def log_message(self, *given: object) -> None:
            pass

    return Handler


def main(arguments: list[str] | None = None) -> None:
    """Serve until killed; says where on the first line of stdout."""
    options = _options(arguments)
    calendar = TradingCalendar(options.calendar)
    clock: Clock = SystemClock() if options.clock is None else FileClock(options.clock)
    account = FakeAccount(
        clock=clock,
        books=fixed_book(BarBook(pl.read_parquet(options.bars, glob=False), calendar)),
        calendar=calendar,
        cash=options.cash,
        half_spread_bps=options.half_spread_bps,
        parts=options.parts,
        reject=options.reject,
        seed=options.seed,
    )
    faults = Faults(options.faults, share=options.share, hangs=options.hangs)
    with FakeAlpaca(account, faults, hang_s=options.hang_s, port=options.port) as server:
        print(json.dumps({"url": server.url, "since": datetime.now(UTC).isoformat()}), flush=True)
        while True:
            time.sleep(3600)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m engine.bench.private.fake_alpaca")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--clock", type=Path, help="a replay's clock; none: the system's")
    parser.add_argument("--bars", type=Path, required=True, help="Parquet as Market.bars")
    parser.add_argument("--calendar", default="XNYS")
    parser.add_argument("--cash", type=float, default=1_000_000.0)
    parser.add_argument("--half-spread-bps", type=float, default=1.0)
    parser.add_argument("--faults", type=int, help="seed of faults; none: no fault")
    parser.add_argument("--share", type=float, default=0.15, help="of requests that meet a fault")
    parser.add_argument("--hangs", type=float, default=0.0, help="of faults that hang")
    parser.add_argument("--hang-s", type=float, default=30.0)
    parser.add_argument("--parts", type=int, default=1, help="most parts an order is filled in")
    parser.add_argument("--reject", type=float, default=0.0, help="of tickers refused on a day")
    parser.add_argument("--seed", type=int, default=0, help="of parts and refusals")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
