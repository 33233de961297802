"""Errors that a user can mend, told in one line."""

from __future__ import annotations

__all__ = ["UsageError"]


class UsageError(Exception):
    """Bad input or configuration: shown as one line without a traceback, exit code 2.

    The message names the file, key, ticker or row, the rule it breaks, and how to mend it.
    """
