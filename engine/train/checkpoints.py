"""Checkpoints of a running stage: whole or not there, the last few kept."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.files import replace_file

__all__ = ["CheckpointStore"]

log = logging.getLogger(__name__)
NAME = re.compile(r"step-(\d{9})\.pt")


class CheckpointStore:
    """`<run folder>/checkpoints/<stage>/step-000000500.pt`.

    `recipe` is everything that decides the weights, as plain values by dotted key; a checkpoint of
    another one is refused, so that runs never mix.
    """

    def __init__(self, folder: Path, recipe: dict[str, Any], *, keep: int) -> None:
        self.folder, self.recipe, self.keep = folder, recipe, keep

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write one and drop the oldest beyond `keep`. Raises OSError; the others stay then."""
        import torch

        path = self.folder / f"step-{step:09d}.pt"
        content = {"recipe": self.recipe, "state": state}
        try:
            replace_file(path, lambda part: torch.save(content, part))
        except RuntimeError as error:  # torch's own writer does not say OSError on a full disk
            raise OSError(f"{path}: {' '.join(str(error).split())}") from error
        for old in self._paths()[self.keep :]:
            old.unlink(missing_ok=True)
        return path

    def latest(self) -> dict[str, Any] | None:
        """The state of the newest checkpoint that can be read; None where there is none.

        Raises UsageError for a checkpoint of another recipe.
        """
        return next(self._states(), None)

    def steps(self) -> list[int]:
        """The steps there are checkpoints of, newest first."""
        return [int(NAME.fullmatch(path.name).group(1)) for path in self._paths()]  # type: ignore[union-attr]

    def _states(self) -> Iterator[dict[str, Any]]:
        import torch

        for path in self._paths():
            try:
                content = torch.load(path, map_location="cpu", weights_only=True)
                recipe, state = content["recipe"], content["state"]
            except Exception as error:
                log.warning("%s cannot be read and is passed over (%s)", path, type(error).__name__)
                continue
            self._check(path, recipe)
            yield state

    def _check(self, path: Path, recipe: dict[str, Any]) -> None:
        for key in sorted({*recipe, *self.recipe}):
            if recipe.get(key) != self.recipe.get(key):
                raise UsageError(
                    f"{path}: is of another run ({key} was {recipe.get(key)}, now "
                    f"{self.recipe.get(key)}); choose another --run.name or delete its checkpoints"
                )

    def _paths(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted((p for p in self.folder.iterdir() if NAME.fullmatch(p.name)), reverse=True)
