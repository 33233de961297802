"""`python -m engine.live status`: what `status.json` says, as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.errors import UsageError
from engine.live.control import Control
from engine.live.monitor import STATUS

__all__ = ["show_status"]


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
