"""What a guard says when it trips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["GuardEvent", "listed", "tripped"]


@dataclass(frozen=True)
class GuardEvent:
    """A guard that tripped: nothing is sent, positions stay as they are.

    Attributes
    ----------
    guard
        Its name.
    explanation
        A sentence for a person: what was found, and the limit.
    ticker
        Whose it is, where it is about one name.
    persistent
        It holds until a person says `resume`, not only for this cycle.
    """

    guard: str
    explanation: str
    ticker: str | None = None
    persistent: bool = False


def tripped(
    guard: str, explanation: str, names: Sequence[str] = (), *, persistent: bool = False
) -> list[GuardEvent]:
    """One event; with `ticker` where it is about a single name."""
    ticker = names[0] if len(names) == 1 else None
    return [GuardEvent(guard, explanation, ticker, persistent)]


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names for a sentence, the first few of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
