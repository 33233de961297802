"""Telling somebody else: a POST of JSON, that may fail and is never in the way."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from engine.errors import UsageError

__all__ = ["Webhook"]

log = logging.getLogger(__name__)
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
