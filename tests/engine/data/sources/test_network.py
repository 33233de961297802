from __future__ import annotations

import time

import polars as pl
import pytest

from engine.data.sources.network import (
    Downloads,
    Retries,
    SourceUnavailableError,
    Ticker,
    fetch_each,
)

QUICK = {"first_wait_s": 0.0, "per_minute": 1e9}


class AnswerError(Exception):
    def __init__(self, status_code: int | None) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


@pytest.mark.parametrize("status", [429, 500, 503, None])
def test_what_may_pass_is_asked_again(status):
    asked = []

    def request(attempt: int) -> str:
        asked.append(attempt)
        if attempt < 2:
            raise AnswerError(status)
        return "bars"

    assert Retries(**QUICK).call(request, what="x") == "bars"
    assert asked == [0, 1, 2]


@pytest.mark.parametrize(
    "error", [AnswerError(404), AnswerError(403), KeyError("a defect of ours")]
)
def test_what_cannot_pass_is_raised_at_once(error):
    asked = []

    def request(attempt: int) -> None:
        asked.append(attempt)
        raise error

    with pytest.raises(type(error)):
        Retries(**QUICK).call(request, what="x")
    assert asked == [0]


def test_giving_up_names_what_and_why():
    def request(_: int) -> None:
        raise AnswerError(503)

    with pytest.raises(
        SourceUnavailableError, match=r"AAPL: gave up after 3 attempts \(status 503\)"
    ):
        Retries(attempts=3, **QUICK).call(request, what="AAPL")


def test_waits_grow_and_requests_keep_the_rate(monkeypatch):
    slept = []
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)

    def request(_: int) -> None:
        raise AnswerError(503)

    with pytest.raises(SourceUnavailableError):
        Retries(attempts=5, first_wait_s=1.0, longest_wait_s=4.0, per_minute=1e9).call(
            request, what="x"
        )
    waits = [seconds for seconds in slept if seconds > 0.5]
    for wait, base in zip(waits, [1.0, 2.0, 4.0, 4.0], strict=True):
        assert base <= wait <= 2 * base
    slept.clear()
    limited = Retries(per_minute=30.0)
    for _ in range(3):
        limited.call(lambda _: None, what="x")
    assert sum(slept) == pytest.approx(4.0)


def test_a_broken_download_goes_on_where_it_stopped(tmp_path):
    asked = []

    def fetch(ticker: str) -> Ticker:
        asked.append(ticker)
        if ticker == "C" and asked.count("C") == 1:
            raise SourceUnavailableError("C: gave up")
        return Ticker(pl.DataFrame({"ticker": [ticker]}), pl.DataFrame({"value": [1.0]}))

    downloads = Downloads(tmp_path, "request")
    with pytest.raises(
        SourceUnavailableError, match="2 of 4 tickers are kept: the same command goes on there"
    ):
        fetch_each("ABCD", fetch, name="test", downloads=downloads)
    found = fetch_each("ABCD", fetch, name="test", downloads=Downloads(tmp_path, "request"))
    assert asked == ["A", "B", "C", "C", "D"]
    assert [part.bars["ticker"].item() for part in found] == list("ABCD")
    # Complete: the next request asks anew, as another request does at once.
    fetch_each("AB", fetch, name="test", downloads=Downloads(tmp_path, "request"))
    assert asked[-2:] == ["A", "B"]
