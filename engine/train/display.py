"""How far a stage has come, on a terminal and in a log."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from engine.progress import WorkProgress

__all__ = ["StageDisplay"]


class StageDisplay:
    """Loss, codebook use, windows a second and time left, from the workers' messages."""

    def __init__(self, console: Console, stage: str, steps: int, batch: int) -> None:
        self._console, self._stage = console, stage
        self._steps, self._batch = steps, batch
        self._figures: dict[str, float] = {}
        self._progress: WorkProgress | None = None
        self._from = 0

    def __enter__(self) -> StageDisplay:
        self._console.print(f"{self._stage}: starting the workers", highlight=False)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self._progress is not None:
            self._progress.__exit__(kind, error, trace)

    def hear(self, message: dict[str, Any]) -> None:
        """A worker's message: stage, step, figures."""
        step = message["step"]
        self._figures |= message["figures"]
        if self._progress is None or step < self._from:
            self._begin(step)
        assert self._progress is not None
        self._progress.update((step - self._from) * self._batch, what=self._what())

    def _begin(self, step: int) -> None:
        """From the first step of these workers, so that rate and time left are theirs."""
        self._from = step
        if self._progress is None:
            left = (self._steps - step) * self._batch
            self._progress = WorkProgress(self._console, self._what(), left, "windows")
            self._progress.__enter__()

    def _what(self) -> str:
        known = self._figures
        parts = [
            ("loss {:.4f}", "loss"),
            ("validation {:.4f}", "validation_loss"),
            ("codes in use {:.0%}", "validation_s1_used"),
            ("{:.0%}", "validation_s2_used"),
        ]
        said = [text.format(known[name]) for text, name in parts if name in known]
        since = f" from step {self._from}" if self._from else ""
        return f"{self._stage}{since}: {', '.join(said)}"
