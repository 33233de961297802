"""The nearest of the known names, for messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(word: object, known: Iterable[object]) -> str:
    """`` did you mean 'x'?`` or nothing."""
    matches = difflib.get_close_matches(str(word), [str(key) for key in known], n=1)
    return f" did you mean {matches[0]!r}?" if matches else ""
