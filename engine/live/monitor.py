"""What a person hears: lines on the terminal, JSON lines in the log, a webhook, a status file."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from engine.errors import UsageError
from engine.files import write_json
from engine.live.clock import Clock
from engine.live.control import Control
from engine.live.guards import GuardEvent

__all__ = ["STATUS", "Monitor", "Webhook", "show_status"]

log = logging.getLogger(__name__)
STATUS = "status.json"
_TIMEOUT_S = 5.0


class Webhook:
    """Posts to one address, which is a secret: only its host is ever named.

    Raises UsageError if the address is not one of HTTP.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("live.monitor.webhook: must be an address that begins with https://")
        self._url, self._host = url, parts.hostname

    def post(self, content: Mapping[str, Any]) -> bool:
        """Whether it was taken; a failure is logged and no more."""
        request = urllib.request.Request(
            self._url,
            data=json.dumps(dict(content), default=str, allow_nan=False).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
                return True
        except urllib.error.HTTPError as error:
            self._failed(f"status {error.code}")
        except Exception as error:  # whatever is wrong with it, the loop goes on
            # The text of an error may hold the address.
            self._failed(type(error).__name__)
        return False

    def _failed(self, why: str) -> None:
        log.warning("the webhook at %s could not be told: %s", self._host, why)


class Monitor:
    """Tells what happens, by the loop's clock."""

    def __init__(
        self, console: Console, clock: Clock, folder: Path, webhook: Webhook | None = None
    ) -> None:
        self._console = console
        self._clock = clock
        self._folder = folder
        self._webhook = webhook

    def tell(self, event: str, message: str, *, warning: bool = False, **fields: Any) -> None:
        """One thing that happened. A warning reaches the terminal as the engine's warnings do."""
        now = self._clock.now()
        entry = _plain({"event": event, "at": now.isoformat(timespec="seconds"), **fields})
        log.log(
            logging.WARNING if warning else logging.INFO, "%s", message, extra={"fields": entry}
        )
        if not warning:
            self._console.print(
                f"{now:%Y-%m-%d %H:%M} UTC  {message}", markup=False, highlight=False
            )
        if self._webhook is not None:
            self._webhook.post({**entry, "message": message})

    def tripped(self, events: Sequence[GuardEvent], **fields: Any) -> None:
        """Guards that tripped."""
        for event in events:
            self.tell(
                "guard",
                f"nothing is sent: {event.explanation}",
                warning=True,
                guard=event.guard,
                ticker=event.ticker,
                **fields,
            )

    def status(self, content: Mapping[str, Any]) -> None:
        """Leave where the loop stands in `status.json`, for the command `status`."""
        write_json(self._folder / STATUS, dict(content))


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON will have it: dates as text."""
    return json.loads(json.dumps(dict(entry), default=str))


def show_status(folder: Path, console: Console) -> None:
    """Print where the loop of a run folder stands. Raises UsageError where none ever ran."""
    path = folder / STATUS
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{folder}: no loop has run here (python -m engine.live)") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable status: {error}") from None
    table = Table(box=None, show_header=False, title=f"{folder} at {content['at']}")
    alive = Path(f"/proc/{content['process']}").exists()
    table.add_row("process", f"{content['process']}{'' if alive else ' (ended)'}")
    orders = "sends orders" if content["sends_orders"] else "dry run: sends no orders"
    table.add_row("broker", f"{content['broker']}, {orders}")
    halt = Control(folder).halted()
    if halt is not None:
        table.add_row("HALTED", f"by {halt.by}: {halt.reason}")
    if content["pending"]:
        table.add_row("to acknowledge", ", ".join(content["pending"]))
    table.add_row("session", content["session"])
    for phase, (status, detail) in content["phases"].items():
        table.add_row(f"  {phase}", f"{status} {detail}".strip())
    table.add_row("next", f"{content['next']['phase']}, due {content['next']['due']}")
    for name in ("equity", "cash"):
        if content[name] is not None:
            table.add_row(name, f"{content[name]:,.2f}")
    for ticker, quantity in content["positions"].items():
        table.add_row(f"  {ticker}", f"{quantity:,g}")
    for side, quantity, ticker, status, filled in content["orders"]:
        table.add_row(f"  {side} {ticker}", f"{quantity:,g} {status}, {filled:,g} filled")
    console.print(table)
