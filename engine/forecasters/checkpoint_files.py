"""A checkpoint's files on their way to the machines that score.

1. On the driver's machine they lie in two folders, and actors there read them in place.
2. For a cluster they travel inside the forecaster's specification, which the driver puts into the
   object store once: pickling a `CheckpointFiles` that `travels` reads its files.
3. On a node they are looked for in the cache folder, by hash, and written there if they are not.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.files import replace_file
from kronos.fast.machine import cache_folder
from kronos.weights.folder import CONFIG_FILE, WEIGHTS_FILE, checkpoint_sha256

__all__ = ["CheckpointFiles"]

log = logging.getLogger(__name__)
FILES = (CONFIG_FILE, WEIGHTS_FILE)


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of a model and its tokenizer.

    Attributes
    ----------
    folders
        "model" and "tokenizer" → where each lies on the driver's machine.
    sha256
        "model" and "tokenizer" → `checkpoint_sha256` as the driver saw it.
    travels
        Whether the files go with the object, to machines that may not have them.
    content
        Part/file → uint8 [bytes], after travelling; empty before.
    """

    folders: Mapping[str, Path]
    sha256: Mapping[str, str]
    travels: bool = False
    content: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        content = self.content
        if self.travels and not content:
            content = {
                f"{part}/{name}": np.fromfile(folder / name, dtype=np.uint8)
                for part, folder in self.folders.items()
                for name in FILES
            }
        return {**self.__dict__, "content": content}

    @contextmanager
    def here(self) -> Iterator[dict[str, Path]]:
        """Folders of "model" and "tokenizer" on this machine, for as long as they are read.

        Raises ValueError if a folder holds other files than the driver saw, OSError if it cannot
        be read.
        """
        if not self.content:
            yield self._checked(dict(self.folders))
            return
        cached = {
            part: cache_folder() / "checkpoints" / sha256 for part, sha256 in self.sha256.items()
        }
        try:
            for part, folder in cached.items():
                self._fill(part, folder)
        except OSError as error:
            log.warning("checkpoint not kept on this machine: %s", error)
            with tempfile.TemporaryDirectory() as temporary:
                folders = {part: Path(temporary) / part for part in self.sha256}
                for part, folder in folders.items():
                    self._fill(part, folder)
                yield self._checked(folders)
            return
        yield self._checked(cached)

    def _fill(self, part: str, folder: Path) -> None:
        """Write the files unless the folder holds them already, whole and unchanged."""
        if all((folder / name).is_file() for name in FILES):
            if checkpoint_sha256(folder) == self.sha256[part]:
                return
            log.warning("%s is damaged and is written again", folder)
        for name in FILES:
            content = self.content[f"{part}/{name}"]
            replace_file(folder / name, content.tofile)

    def _checked(self, folders: dict[str, Path]) -> dict[str, Path]:
        for part, folder in folders.items():
            if checkpoint_sha256(folder) != self.sha256[part]:
                raise ValueError(
                    f"the {part} in {folder} is not the one the driver saw; give every node the "
                    "same checkpoint, or start the run again"
                )
        return folders
