"""How far a stage has come, on a terminal and in a log."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from engine.progress import WorkProgress

__all__ = ["StageDisplay"]


class StageDisplay:
    """Loss, codebook use, windows a second and time left, from the workers' messages."""

    def __init__(self, console: Console, stage: str, steps: int, batch: int) -> None:
        self._batch = batch
        self._stage = stage
        self._figures: dict[str, float] = {}
        self._progress = WorkProgress(console, f"{stage}: starting", steps * batch, "windows")

    def __enter__(self) -> StageDisplay:
        self._progress.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._progress.__exit__(kind, error, trace)

    def hear(self, message: dict[str, Any]) -> None:
        """A worker's message: stage, step, figures."""
        self._figures |= message["figures"]
        self._progress.update(message["step"] * self._batch, what=self._what())

    def _what(self) -> str:
        known = self._figures
        parts = [
            ("loss {:.4f}", "loss"),
            ("validation {:.4f}", "validation_loss"),
            ("s1 codes in use {:.0%}", "validation_s1_used"),
            ("s2 {:.0%}", "validation_s2_used"),
        ]
        said = [text.format(known[name]) for text, name in parts if name in known]
        return f"{self._stage}: {', '.join(said)}" if said else self._stage
