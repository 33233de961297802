"""The keys of an Alpaca account: of the environment only, and in no text."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from engine.errors import UsageError

__all__ = ["KEY", "Keys", "read_keys"]

KEY, SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"


@dataclass(frozen=True)
class Keys:
    """Both keys. Whoever needs their values asks for them."""

    key_id: SecretStr
    secret: SecretStr

    def arguments(self) -> dict[str, Any]:
        """As clients of alpaca-py take them."""
        return {
            "api_key": self.key_id.get_secret_value(),
            "secret_key": self.secret.get_secret_value(),
        }

    def hide(self, text: str) -> str:
        """`text` without the keys, should a server have sent them back."""
        for value in self.arguments().values():
            text = text.replace(value, "***")
        return text


def read_keys(setting: str, environ: Mapping[str, str] = os.environ) -> Keys:
    """Both keys, for what `setting` ("live.broker alpaca") names.

    Raises
    ------
    UsageError
        alpaca-py is not installed, or a key is missing.
    """
    if importlib.util.find_spec("alpaca") is None:
        raise UsageError(
            f"{setting} needs the package alpaca-py: "
            "pip install 'kronos-engine[live]' -c constraints.txt"
        )
    for name in (KEY, SECRET):
        if not environ.get(name):
            raise UsageError(f"{setting} needs the environment variable {name}")
    return Keys(SecretStr(environ[KEY]), SecretStr(environ[SECRET]))
