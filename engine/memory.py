"""Memory that was freed, handed back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

__all__ = ["release_freed_memory"]


def release_freed_memory() -> None:
    """Between steps that each free large arrays: glibc keeps blocks of up to 32 MB for itself.

    Does nothing where the C library has no such call.
    """
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or none to be had this way
        return lambda keep: None
