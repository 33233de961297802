"""What a person hears: lines on the terminal, JSON lines in the log, a webhook, a status file."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.files import write_json
from engine.live.clock import Clock
from engine.live.guards import GuardEvent
from engine.live.webhook import Webhook

__all__ = ["STATUS", "Monitor"]

log = logging.getLogger(__name__)
STATUS = "status.json"


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
