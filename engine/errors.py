"""Errors that a user can mend, told in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["UsageError", "nearest"]


class UsageError(Exception):
    """Bad input or configuration: shown as one line without a traceback, exit code 2.

    The message names the file, key, ticker or row, the rule it breaks, and how to mend it.
    """


def nearest(name: str, known: Iterable[str], *, at_least: float = 0.0) -> str | None:
    """The one of `known` that is spelled most like `name`, upper and lower case alike.

    Parameters
    ----------
    name
        What the user wrote.
    known
        What could have been meant.
    at_least
        The similarity (`difflib`, 0 to 1) below which nothing is near.

    Returns
    -------
    The name as `known` spells it; None where nothing is near enough.
    """
    spelled = {other.casefold(): other for other in sorted(known, reverse=True)}
    close = difflib.get_close_matches(name.casefold(), spelled, n=1, cutoff=at_least)
    return spelled[close[0]] if close else None
