"""Which forecaster scores: the preferred one, or the fallback when it cannot.

1. Factors and files of scores cost nothing and run in this process.
2. A model runs in a child process with its own Ray, if any: whatever happens to it there, and all
   its memory, ends with the child, which is given `live.forecaster.timeout_s`.
3. When the preferred one fails (not found, not loadable, out of memory, late, no finite forecast)
   the fallback scores all dates, and the reason is told.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
from rich.console import Console

from engine.config import Settings
from engine.data.market import Market
from engine.decisions.scores import score_decisions
from engine.errors import UsageError
from engine.forecasters.named import named_model
from engine.run_folder import RunFolder
from engine.scoring.score import Scored

__all__ = ["Chosen", "ForecasterError", "score_with_choice"]

log = logging.getLogger(__name__)
STDERR = 2


class ForecasterError(RuntimeError):
    """A forecaster gave no scores; `usage`: because it was named or configured wrongly."""

    def __init__(self, reason: str, *, usage: bool = False) -> None:
        super().__init__(reason)
        self.usage = usage


@dataclass(frozen=True)
class Chosen:
    """Scores, and who made them.

    Attributes
    ----------
    scored
        Of every date asked for.
    name
        As `model.name` takes it.
    fallback_reason
        Why it was not the preferred one; None if it was.
    """

    scored: Scored
    name: str
    fallback_reason: str | None


def score_with_choice(
    settings: Settings,
    market: Market,
    dates: Sequence[date],
    *,
    folder: RunFolder,
    console: Console | None,
) -> Chosen:
    """Scores of `dates` (the last is the decision's) by the first forecaster that gives any.

    Raises UsageError where the only one is named wrongly, and ForecasterError where none could.
    """
    preferred, fallback = settings.model.name, settings.live.forecaster.fallback
    try:
        return Chosen(_score(settings, market, dates, folder, console), preferred, None)
    except ForecasterError as error:
        reason = f"{preferred}: {error}"
        if fallback is None or fallback == preferred:
            raise (UsageError(str(error)) if error.usage else ForecasterError(reason)) from None
    log.warning("%s; %s scores instead", reason, fallback)
    other = {"name": fallback, "tokenizer": None, "revision": None, "max_context": None}
    model = settings.model.model_copy(update=other)
    try:
        scored = _score(
            settings.model_copy(update={"model": model}), market, dates, folder, console
        )
    except ForecasterError as error:
        raise ForecasterError(f"{reason}; {fallback}: {error}") from None
    return Chosen(scored, fallback, reason)


def _score(
    settings: Settings,
    market: Market,
    dates: Sequence[date],
    folder: RunFolder,
    console: Console | None,
) -> Scored:
    name = settings.model.name
    if named_model(name).is_light:
        shown = console or Console(quiet=True)
        try:
            scored = score_decisions(
                market, settings, dates, folder=folder, console=shown, here="always"
            )
        except UsageError as error:
            raise ForecasterError(str(error), usage=True) from None
    else:
        scored = _score_in_child(settings, market, dates, folder, console)
    today = scored.scores.filter(pl.col("asof") == dates[-1])
    if today.is_empty() and named_model(name).kind == "scores":
        raise ForecasterError(f"{name}: no score at {dates[-1]}", usage=True)
    if today.filter(pl.col("status") == "ok").is_empty():
        found = today.filter(pl.col("status") == "failed")["reason"]
        if found.len():
            raise ForecasterError(f"no window could be scored: {found[0]}")
    return scored


def _score_in_child(
    settings: Settings,
    market: Market,
    dates: Sequence[date],
    folder: RunFolder,
    console: Console | None,
) -> Scored:
    """The same in a process that ends afterwards, with everything that it started."""
    with tempfile.TemporaryDirectory(prefix="engine-signals-") as place:
        task, answer = Path(place, "task"), Path(place, "answer")
        task.write_bytes(pickle.dumps((settings, market, list(dates), folder, console is None)))
        timeout = settings.live.forecaster.timeout_s
        command = [sys.executable, "-m", "engine.signals.worker", str(task), str(answer)]
        # The open pipe tells the child that we live; a session of its own, that it can be ended
        # with all its processes and hears no Ctrl-C before we do.
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=STDERR, start_new_session=True
        )
        try:
            code = child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ForecasterError(f"timed out after {timeout:g} s") from None
        finally:
            _end(child)
        if not answer.is_file():
            raise ForecasterError(_death(code))
        # Ours: the folder is private to this process and its child.
        kind, content = pickle.loads(answer.read_bytes())
    if kind == "scored":
        scored: Scored = content
        return scored
    raise ForecasterError(content, usage=kind == "usage")


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdin:
        child.stdin.close()


def _death(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed, as the system does when memory runs out"
    if code < 0:
        return f"its process died of signal {signal.Signals(-code).name}"
    return f"its process ended with exit code {code} and no scores"
