"""What sources across a network share: retries, a rate limit, and going on after a break.

1. `fetch_each` asks for one ticker after another and shows how far it is.
2. `Retries.call` repeats a request that failed in a way that may pass, waiting longer each time.
3. What was fetched lies in `Downloads` until all tickers are there, so that the same command after
   a break asks only for the rest.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TypeVar

import polars as pl

from engine.cache import user_cache
from engine.command import make_console
from engine.data.source import SourceData
from engine.files import write_frame
from engine.progress import WorkProgress
from engine.retries import Backoff, call_again

__all__ = [
    "Downloads",
    "Found",
    "Retries",
    "SourceUnavailableError",
    "Ticker",
    "fetch_each",
]

T = TypeVar("T")


class Found:
    """What a network source has bars of, as far as it was asked; a source cannot list the rest."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[date, date]] = {}

    def tickers(self) -> list[str]:
        """The tickers that bars were found of so far."""
        return sorted(self._found)

    def span(self) -> tuple[date, date] | None:
        """First and last date found so far."""
        spans = self._found.values()
        return (min(a for a, _ in spans), max(b for _, b in spans)) if spans else None

    def _collect(self, parts: Sequence[Ticker]) -> SourceData:
        """One answer of all parts, remembered."""
        bars = pl.concat([part.bars for part in parts])
        spans = bars.group_by("ticker").agg(first=pl.col("date").min(), last=pl.col("date").max())
        self._found |= {ticker: (first, last) for ticker, first, last in spans.iter_rows()}
        return SourceData(bars=bars, actions=pl.concat([part.actions for part in parts]))


class SourceUnavailableError(Exception):
    """The other side did not answer, or not as agreed, however often it was asked."""


@dataclass
class Retries:
    """Requests at most so many a minute, each repeated while it fails in a way that may pass.

    Attributes
    ----------
    attempts
        How often a request is sent before it is given up.
    first_wait_s, longest_wait_s
        Seconds before the second attempt, and before any (`Backoff`).
    per_minute
        The most requests sent within a minute.
    """

    attempts: int = 5
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    per_minute: float = 60.0
    _next: float = field(default=0.0, repr=False)

    def call(self, request: Callable[[int], T], *, what: str) -> T:
        """`request(attempt)`, repeated. An error that cannot pass is raised as it comes.

        Raises
        ------
        SourceUnavailableError
            Every attempt failed; names `what` and the last reason.
        """

        def paced(attempt: int) -> T:
            self._pace()
            return request(attempt)

        waits = Backoff(self.first_wait_s, self.longest_wait_s)
        try:
            return call_again(paced, attempts=self.attempts, backoff=waits, may_pass=_may_pass)
        except Exception as error:
            if not _may_pass(error):
                raise
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise SourceUnavailableError(
                f"{what}: gave up after {self.attempts} attempts ({reason})"
            ) from error

    def _pace(self) -> None:
        now = time.monotonic()
        if now < self._next:
            time.sleep(self._next - now)
        self._next = max(now, self._next) + 60.0 / self.per_minute


def _may_pass(error: Exception) -> bool:
    """Bad answers of a server and broken connections pass; a bad request or key does not."""
    status = getattr(error, "status_code", None)
    if status is None:
        status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return status == 429 or status >= 500
    return not isinstance(error, TypeError | KeyError | AttributeError | ImportError)


@dataclass(frozen=True)
class Ticker:
    """What a source has of one ticker: bars as in `SourceData`, and actions."""

    bars: pl.DataFrame
    actions: pl.DataFrame


class Downloads:
    """Fetched tickers of one request, kept until the request is complete.

    `request` is everything that was asked for; another request shares nothing with it. Without a
    `folder` they lie in the user's cache.
    """

    def __init__(self, folder: Path | None, request: str) -> None:
        self._folder = (folder or user_cache("downloads")) / hashlib.blake2b(
            request.encode(), digest_size=12
        ).hexdigest()

    def read(self, ticker: str) -> Ticker | None:
        """What was fetched of `ticker` before; None if nothing whole was."""
        files = self._files(ticker)
        try:
            return Ticker(*(pl.read_parquet(file, glob=False) for file in files))
        except (OSError, pl.exceptions.PolarsError):
            return None

    def write(self, ticker: str, fetched: Ticker) -> None:
        """Keep it."""
        bars, actions = self._files(ticker)
        write_frame(actions, fetched.actions)
        write_frame(bars, fetched.bars)

    def clear(self) -> None:
        """The request is complete: the next one asks anew."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _files(self, ticker: str) -> tuple[Path, Path]:
        name = hashlib.blake2b(ticker.encode(), digest_size=12).hexdigest()
        return self._folder / f"{name}.bars.parquet", self._folder / f"{name}.actions.parquet"


def fetch_each(
    tickers: Sequence[str],
    fetch: Callable[[str], Ticker],
    *,
    name: str,
    downloads: Downloads,
) -> list[Ticker]:
    """`fetch` of every ticker, in order; those of an earlier, broken run are not asked for again.

    Raises
    ------
    SourceUnavailableError
        A ticker could not be had. What was fetched until then is kept.
    """
    found: list[Ticker] = []
    with WorkProgress(make_console(), name, len(tickers), "tickers") as progress:
        for ticker in tickers:
            known = downloads.read(ticker)
            if known is None:
                try:
                    known = fetch(ticker)
                except SourceUnavailableError as error:
                    raise SourceUnavailableError(
                        f"{error}; {len(found)} of {len(tickers)} tickers are kept: the same "
                        "command goes on there"
                    ) from error
                downloads.write(ticker, known)
            found.append(known)
            progress.update(len(found))
    downloads.clear()
    return found
