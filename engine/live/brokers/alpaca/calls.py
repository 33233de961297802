"""Requests to Alpaca: with which keys, how long, how often, and what a failure means.

1. `open_trading` and `open_data` give clients of alpaca-py with keys of the environment, a timeout
   on every request, and without alpaca-py's own sleeping retries.
2. `Calls.ask` repeats a request that failed in a way that may pass, waiting longer each time.
3. What went wrong becomes one of the errors of `brokers.broker`; none holds a key or a header.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from engine.alpaca_keys import KEY, Keys
from engine.config.live import AlpacaSettings
from engine.errors import UsageError
from engine.live.brokers.broker import BrokerDownError, BrokerError
from engine.retries import Backoff, call_again

__all__ = ["Calls", "RefusedError", "open_data", "open_trading"]

T = TypeVar("T")

_SWITCH = "KRONOS_LIVE_TRADING"
_LIVE_HOST = "api.alpaca.markets"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 15.0
# What a server may ask to wait: longer than that, the caller is better told.
_LONGEST_RETRY_AFTER_S = 60.0


class RefusedError(BrokerError):
    """Alpaca answered no: HTTP `status`, its own `code` where it gave one, and its `message`."""

    def __init__(self, what: str, status: int, code: int | None, message: str) -> None:
        super().__init__(f"alpaca: {what}: {status} {message}")
        self.status, self.code, self.message = status, code, message

    @property
    def about_keys(self) -> bool:
        """Whether the keys are refused, and not what was asked: a refused order has a code."""
        words = self.message.lower()
        unknown = "forbidden" in words or "authorized" in words
        return self.status == 401 or (self.status == 403 and (self.code is None or unknown))


class _BusyError(BrokerDownError):
    """The server answered that it cannot now, and perhaps when to come back."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def open_trading(
    settings: AlpacaSettings, keys: Keys, environ: Mapping[str, str] = os.environ
) -> Any:
    """alpaca-py's TradingClient with raw answers: of the paper account unless asked twice.

    Raises
    ------
    UsageError
        `account: live`, or the address of the live account, without the second switch; or an
        address that would carry the keys unencrypted.
    """
    live = settings.account == "live" or urlsplit(settings.url or "").hostname == _LIVE_HOST
    if live and environ.get(_SWITCH) != "yes":
        raise UsageError(
            "live.alpaca.account live trades with real money: it also needs "
            f"{_SWITCH}=yes in the environment; account paper does not"
        )
    _check_url("live.alpaca.url", settings.url)
    from alpaca.trading.client import TradingClient

    client = TradingClient(
        **keys.arguments(),
        paper=settings.account == "paper",
        raw_data=True,
        url_override=settings.url,
    )
    return _tamed(client, settings.timeout_s)


def open_data(settings: AlpacaSettings, keys: Keys) -> Any:
    """alpaca-py's StockHistoricalDataClient with raw answers; raises as `open_trading`."""
    _check_url("live.alpaca.data_url", settings.data_url)
    from alpaca.data.historical import StockHistoricalDataClient

    client = StockHistoricalDataClient(
        **keys.arguments(),
        raw_data=True,
        url_override=settings.data_url,
    )
    return _tamed(client, settings.timeout_s)


def _check_url(key: str, url: str | None) -> None:
    parts = urlsplit(url or "https://")
    if "@" in parts.netloc:
        raise UsageError(f"{key}: an address without user and password; keys are read of {KEY}")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise UsageError(f"{key}: {url} would carry the keys unencrypted; use https")


def _tamed(client: Any, timeout_s: float) -> Any:
    """alpaca-py knows no timeout and sleeps between its own retries; it has no setting for it."""
    from requests.adapters import HTTPAdapter

    class Timed(HTTPAdapter):
        def send(self, request: Any, **given: Any) -> Any:  # type: ignore[override]
            given["timeout"] = given.get("timeout") or timeout_s
            return super().send(request, **given)

    for scheme in ("https://", "http://"):
        client._session.mount(scheme, Timed())
    client._retry = 0
    return client


@dataclass
class Calls:
    """Requests with retries.

    Parameters
    ----------
    keys
        Taken out of every text.
    retries
        How often a request is repeated after the first time.
    wait
        Sleeps for so many seconds.
    """

    keys: Keys
    retries: int
    wait: Callable[[float], None] = time.sleep

    def ask(self, what: str, request: Callable[[], T]) -> T:
        """The answer of `request`, asked again while it may still come.

        Raises
        ------
        BrokerDownError
            No answer, however often it was asked.
        RefusedError
            Alpaca's answer is no.
        """
        return call_again(
            lambda _: self.once(what, request),
            attempts=self.retries + 1,
            backoff=self._backoff,
            may_pass=lambda error: isinstance(error, BrokerDownError),
            asked_wait_s=_asked_wait_s,
        )

    def find(self, what: str, request: Callable[[], Any]) -> dict[str, Any] | None:
        """As `ask`; None where Alpaca knows of no such thing."""
        try:
            return dict(self.ask(what, request))
        except RefusedError as error:
            if error.status == 404:
                return None
            raise

    def once(self, what: str, request: Callable[[], T]) -> T:
        """As `ask`, without a second time."""
        try:
            return request()
        except Exception as error:
            failure = self._failure(what, error)
        # Raised out here, without a context: the library's exceptions hold the request's headers.
        raise failure

    def rest(self, attempt: int, error: BrokerDownError) -> None:
        """Wait before the next attempt: twice as long each time, or what the server asked for."""
        self._backoff.rest(attempt, _asked_wait_s(error))

    @property
    def _backoff(self) -> Backoff:
        return Backoff(_FIRST_WAIT_S, _LONGEST_WAIT_S, self.wait)

    def _failure(self, what: str, error: Exception) -> BrokerError:
        from alpaca.common.exceptions import APIError
        from requests.exceptions import ConnectionError, JSONDecodeError, RequestException, Timeout

        if isinstance(error, BrokerError):
            return error
        if isinstance(error, APIError) and error.status_code is not None:
            return self._answered(what, error.status_code, error)
        if isinstance(error, Timeout):
            return BrokerDownError(f"alpaca: {what}: no answer in time")
        passing = isinstance(error, ConnectionError | JSONDecodeError) or (
            isinstance(error, RequestException) and not isinstance(error, ValueError)
        )
        reason = f"{type(error).__name__}: {self._line(str(error))}"
        return (BrokerDownError if passing else BrokerError)(f"alpaca: {what}: {reason}")

    def _answered(self, what: str, status: int, error: Any) -> BrokerError:
        code, message = _body(str(error))
        message = self._line(message)
        if status in (408, 429) or status >= 500:
            return _BusyError(f"alpaca: {what}: {status} {message}", _retry_after(error.response))
        return RefusedError(what, status, code, message)

    def _line(self, text: str) -> str:
        return self.keys.hide(" ".join(text.split()))[:300]


def _asked_wait_s(error: Exception) -> float:
    """What the server asked for, as far as it is waited for."""
    asked = error.retry_after_s if isinstance(error, _BusyError) else 0.0
    return min(asked, _LONGEST_RETRY_AFTER_S)


def _body(text: str) -> tuple[int | None, str]:
    try:
        body = json.loads(text)
    except ValueError:
        return None, text
    if not isinstance(body, dict):
        return None, text
    code = body.get("code")
    return (code if isinstance(code, int) else None), str(body.get("message", text))


def _retry_after(response: Any) -> float:
    """Seconds; 0 where the server does not say."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", 0)))
    except (AttributeError, TypeError, ValueError):
        return 0.0
