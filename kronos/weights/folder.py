"""The files of a checkpoint folder, looked at without loading torch.

``config.json`` holds the constructor's arguments, ``model.safetensors`` the weights, ``README.md``
the model card.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = [
    "CARD_FILE",
    "CONFIG_FILE",
    "WEIGHTS_FILE",
    "CheckpointError",
    "check_files",
    "checkpoint_sha256",
    "one_line",
]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"


class CheckpointError(ValueError):
    """A checkpoint cannot be used. One line: which one, what is missing or wrong, what to do."""


def check_files(folder: Path) -> None:
    """Raise :class:`CheckpointError` unless the arguments and the weights are there."""
    for file in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise CheckpointError(
                f"{folder}: no {file}; a checkpoint folder holds {CONFIG_FILE} and {WEIGHTS_FILE}"
            )


def checkpoint_sha256(folder: Path) -> str:
    """SHA-256 over the bytes of the arguments and the weights: changes when a forecast could."""
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        content = (folder / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def one_line(error: BaseException) -> str:
    """The message without its line breaks."""
    return " ".join(str(error).split())
