"""Checkpoints of a running stage: whole or not there, the last few kept."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.files import replace_file, write_json

__all__ = ["CheckpointStore"]

log = logging.getLogger(__name__)
NAME = re.compile(r"step-\d{9}\.pt")


class CheckpointStore:
    """`<run folder>/checkpoints/<stage>/step-000000500.pt`, and `recipe.json` beside them.

    `recipe` is everything that decides the weights, as plain values by dotted key. A folder of
    another recipe is refused, so that runs never mix.
    """

    def __init__(self, folder: Path, recipe: dict[str, Any], *, keep: int) -> None:
        self.folder, self.recipe, self.keep = folder, recipe, keep
        self._recipe_file = folder / "recipe.json"

    def check(self) -> None:
        """Raises UsageError when the checkpoints there are of another recipe."""
        if not self._recipe_file.is_file():
            return
        there = json.loads(self._recipe_file.read_text(encoding="utf-8"))
        for key in sorted({*there, *self.recipe}):
            if there.get(key) != self.recipe.get(key):
                raise UsageError(
                    f"{self.folder}: holds checkpoints of another run ({key} was "
                    f"{there.get(key)}, now {self.recipe.get(key)}); choose another --run.name or "
                    "delete them"
                )

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write one and drop the oldest beyond `keep`. Raises OSError; the others stay then."""
        import torch

        if not self._recipe_file.is_file():
            write_json(self._recipe_file, self.recipe)
        path = self.folder / f"step-{step:09d}.pt"
        try:
            replace_file(path, lambda part: torch.save({"state": state}, part))
        except RuntimeError as error:  # torch's own writer does not say OSError on a full disk
            raise OSError(f"{path}: {' '.join(str(error).split())}") from error
        for old in self._paths()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def latest(self) -> dict[str, Any] | None:
        """The state of the newest checkpoint that can be read; None where there is none.

        Raises UsageError for checkpoints of another recipe.
        """
        self.check()
        return next(self._states(), None)

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, newest first."""
        return [int(path.stem.removeprefix("step-")) for path in self._paths()]

    def _states(self) -> Iterator[dict[str, Any]]:
        import torch

        for path in self._paths():
            try:
                yield torch.load(path, map_location="cpu", weights_only=True)["state"]
            except Exception as error:
                log.warning("%s cannot be read and is passed over (%s)", path, type(error).__name__)

    def _paths(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted((p for p in self.folder.iterdir() if NAME.fullmatch(p.name)), reverse=True)
