"""Checkpoints by name: where their files are and what is known of them, without loading torch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import metadata_load

from kronos.weights.folder import (
    CARD_FILE,
    CheckpointError,
    check_files,
    checkpoint_sha256,
    one_line,
)
from kronos.weights.hub import fetch

__all__ = ["CheckpointInfo", "checkpoint_info"]

DEFAULT_CONTEXT = 512
NANO = Path(__file__).parents[1] / "checkpoints" / "nano"
# Validation of the published weights ended in May 2024 (arXiv 2508.02739).
PUBLISHED_UNTIL = date(2024, 5, 31)


class Published(NamedTuple):
    """What goes with a published model."""

    tokenizer: str
    max_context: int


PUBLISHED = {
    "NeoQuasar/Kronos-mini": Published("NeoQuasar/Kronos-Tokenizer-2k", 2048),
    "NeoQuasar/Kronos-small": Published("NeoQuasar/Kronos-Tokenizer-base", 512),
    "NeoQuasar/Kronos-base": Published("NeoQuasar/Kronos-Tokenizer-base", 512),
}


@dataclass(frozen=True)
class CheckpointInfo:
    """Which checkpoint a forecast comes from.

    Attributes
    ----------
    trained_until
        Last date used for training or selection; None when the card does not say.
    model_sha256, tokenizer_sha256
        Over ``config.json`` and ``model.safetensors`` of each.
    """

    name: str
    model_folder: Path
    tokenizer_folder: Path
    max_context: int
    trained_until: date | None
    model_sha256: str
    tokenizer_sha256: str


def checkpoint_info(
    name: str | Path,
    tokenizer: str | Path | None = None,
    *,
    revision: str | None = None,
    tokenizer_revision: str | None = None,
    max_context: int | None = None,
) -> CheckpointInfo:
    """Find a checkpoint, fetching it if need be, and describe it; the weights are not loaded.

    Parameters
    ----------
    name
        "kronos-nano"; a Hub repository such as "NeoQuasar/Kronos-small"; a folder with ``model/``
        and ``tokenizer/``; or a model folder (then ``tokenizer`` is needed).
    tokenizer
        Hub repository or folder; None takes the one that belongs to ``name``.
    revision, tokenizer_revision
        Branch, tag or commit on the Hub.
    max_context
        None takes the card's ``max_context``, else the published one, else 512.

    Raises
    ------
    CheckpointError
        When a file is missing or does not fit, or cannot be fetched.
    """
    model_folder, found_tokenizer = _locate(name, revision)
    check_files(model_folder)
    if tokenizer is not None:
        tokenizer_folder = _folder_of(tokenizer, tokenizer_revision, part="tokenizer")
    elif found_tokenizer is not None:
        tokenizer_folder = (
            found_tokenizer
            if isinstance(found_tokenizer, Path)
            else _folder_of(found_tokenizer, tokenizer_revision, part="tokenizer")
        )
    else:
        raise CheckpointError(
            f"{name}: no tokenizer is known for this model; name one (tokenizer=)"
        )
    check_files(tokenizer_folder)
    card = _card(model_folder)
    published = PUBLISHED.get(str(name))
    return CheckpointInfo(
        name=str(name),
        model_folder=model_folder,
        tokenizer_folder=tokenizer_folder,
        max_context=max_context or _context(card, model_folder, published),
        trained_until=_trained_until(card, model_folder, str(name)),
        model_sha256=checkpoint_sha256(model_folder),
        tokenizer_sha256=checkpoint_sha256(tokenizer_folder),
    )


def _locate(name: str | Path, revision: str | None) -> tuple[Path, Path | str | None]:
    """The model folder, and the folder or name of the tokenizer that belongs to it."""
    if str(name) == "kronos-nano":
        return NANO / "model", NANO / "tokenizer"
    root = Path(name)
    if (root / "model").is_dir():
        return root / "model", root / "tokenizer" if (root / "tokenizer").is_dir() else None
    published = PUBLISHED.get(str(name))
    return _folder_of(name, revision, part="model"), published.tokenizer if published else None


def _folder_of(name: str | Path, revision: str | None, *, part: str) -> Path:
    folder = Path(name)
    if folder.is_dir():
        return folder / part if (folder / part).is_dir() else folder
    text = str(name)
    if text.count("/") != 1 or text.startswith((".", "/", "~")):
        raise CheckpointError(
            f"{text}: no such folder, and not a checkpoint name; use kronos-nano, "
            f"{', '.join(PUBLISHED)}, another owner/name on the Hub, or a folder"
        )
    return fetch(text, revision=revision)


def _card(folder: Path) -> dict[str, Any]:
    """The YAML front matter of the model card; empty when there is none."""
    path = folder / CARD_FILE
    if not path.is_file():
        return {}
    try:
        return metadata_load(path) or {}
    except Exception as error:
        raise CheckpointError(
            f"{path}: front matter is not valid YAML ({one_line(error)})"
        ) from error


def _context(card: dict[str, Any], folder: Path, published: Published | None) -> int:
    stated = card.get("max_context", published.max_context if published else DEFAULT_CONTEXT)
    if not isinstance(stated, int) or stated < 2:
        raise CheckpointError(f"{folder / CARD_FILE}: max_context is {stated!r}, not a bar count")
    return stated


def _trained_until(card: dict[str, Any], folder: Path, name: str) -> date | None:
    stated = card.get("trained_until")
    if stated is None:
        return PUBLISHED_UNTIL if name.startswith("NeoQuasar/") else None
    if isinstance(stated, datetime):
        return stated.date()
    if isinstance(stated, date):
        return stated
    try:
        return date.fromisoformat(str(stated))
    except ValueError as error:
        raise CheckpointError(
            f"{folder / CARD_FILE}: trained_until is {stated!r}; write a date as YYYY-MM-DD"
        ) from error
