"""The two networks of a run: their shapes, and the checkpoints they start from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from engine.errors import UsageError
from engine.train.settings import NetworkSettings, TrainSettings

__all__ = ["Base", "Networks", "find_networks"]

Part = Literal["tokenizer", "model"]


@dataclass(frozen=True)
class Base:
    """A checkpoint that training starts from.

    `trained_until` is None where its card does not say: then the result cannot say either.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    sha256: str
    trained_until: date | None


@dataclass(frozen=True)
class Networks:
    """Constructor arguments of both networks, and their bases."""

    tokenizer: dict[str, Any]
    model: dict[str, Any]
    tokenizer_base: Base | None
    model_base: Base | None


def find_networks(settings: TrainSettings) -> Networks:
    """Raises UsageError for a base that is missing, broken, or of another shape than written."""
    bases: dict[Part, Base | None] = {
        "tokenizer": _base("tokenizer", settings.tokenizer),
        "model": _base("model", settings.model),
    }
    tokenizer = _shape("tokenizer", settings.tokenizer, bases["tokenizer"])
    model = _shape("model", settings.model, bases["model"])
    for key in ("s1_bits", "s2_bits"):
        if bases["model"] is not None and model[key] != tokenizer[key]:
            raise UsageError(
                f"model.base: {bases['model'].name} has {key} {model[key]}, the tokenizer "
                f"{tokenizer[key]}; they do not belong together (set tokenizer.base)"
            )
        model[key] = tokenizer[key]
    _buildable(tokenizer, model)
    return Networks(tokenizer, model, bases["tokenizer"], bases["model"])


def _base(part: Part, network: NetworkSettings) -> Base | None:
    if network.base is None:
        return None
    from kronos import Kronos, KronosTokenizer, checkpoint_info
    from kronos.weights.folder import CheckpointError, checkpoint_sha256
    from kronos.weights.info import NANO

    name, revision = network.base, network.revision
    try:
        if part == "model":
            # Any tokenizer will do: only the model is asked for.
            info = checkpoint_info(name, tokenizer=NANO / "tokenizer", revision=revision)
            folder, until = info.model_folder, info.trained_until
            Kronos.from_folder(folder)
        else:
            folder, until = _tokenizer_folder(name, revision)
            KronosTokenizer.from_folder(folder)
    except CheckpointError as error:
        raise UsageError(f"{part}.base: {error}") from None
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Base(name, folder, config, checkpoint_sha256(folder), until)


def _tokenizer_folder(name: str, revision: str | None) -> tuple[Path, date | None]:
    """A tokenizer's folder, and the date its card states."""
    from kronos import checkpoint_info

    # Asked as a model with itself for tokenizer: the same look-up, card and errors.
    root = Path(name) / "tokenizer" if (Path(name) / "tokenizer").is_dir() else name
    if name == "kronos-nano":
        from kronos.weights.info import NANO

        root = NANO / "tokenizer"
    info = checkpoint_info(root, tokenizer=root, revision=revision)
    return info.model_folder, info.trained_until


def _shape(part: Part, network: NetworkSettings, base: Base | None) -> dict[str, Any]:
    if base is None:
        return network.shape()
    for key, value in network.written().items():
        if key in base.config and base.config[key] != value:
            raise UsageError(
                f"{part}.{key}: {value}, but {base.name} has {base.config[key]}; a checkpoint "
                "cannot change its shape: leave the key out, or train from scratch (base: null)"
            )
    return dict(base.config)


def _buildable(tokenizer: dict[str, Any], model: dict[str, Any]) -> None:
    from kronos import Kronos, KronosTokenizer

    for part, kind, shape in (
        ("tokenizer", KronosTokenizer, tokenizer),
        ("model", Kronos, model),
    ):
        try:
            kind(**shape)
        except (ValueError, TypeError) as error:
            raise UsageError(f"{part}: {error}") from None
