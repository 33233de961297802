"""What the live engine knows: plans, orders, fills, positions, equity, guard events, phases.

One DuckDB file, written by one process. Every change is one transaction, so that a process that
is killed at any point finds on its next start either all of it or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from engine.files import WriteLock
from engine.live.state.cycles import Cycles, Mark, MarkStatus, Plan, Plans
from engine.live.state.database import Database
from engine.live.state.holdings import Holdings
from engine.live.state.orders import Orders

__all__ = ["LiveState", "Mark", "MarkStatus", "Plan", "open_state"]


class LiveState:
    """Plans, orders, holdings and cycles in one file."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self.plans = Plans(self._database)
        self.holdings = Holdings(self._database)
        self.orders = Orders(self._database, self.holdings)
        self.cycles = Cycles(self._database)

    def transaction(self) -> AbstractContextManager[None]:
        """All changes inside, or none."""
        return self._database.transaction()

    def close(self) -> None:
        """Close the file."""
        self._database.close()


@contextmanager
def open_state(path: Path) -> Iterator[LiveState]:
    """The state in `path`, made where there is none, and no other process in it meanwhile.

    Raises UsageError while another process holds it, naming that process.
    """
    with WriteLock(path), closing(LiveState(path)) as state:
        yield state
