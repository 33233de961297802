"""Figures of a run as they come: `metrics.csv` and TensorBoard events.

`metrics.csv` is a long table: stage, split (training or validation), step, metric, value. A run
that is taken up again first drops the rows after its checkpoint, so that a broken run leaves the
same table as an unbroken one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from engine.files import write_text

__all__ = ["METRICS", "MetricsLog", "read_metrics"]

METRICS = pl.Schema(
    {
        "stage": pl.String,
        "split": pl.String,
        "step": pl.Int64,
        "metric": pl.String,
        "value": pl.Float64,
    }
)
_HEADER = ",".join(METRICS) + "\n"


def read_metrics(path: Path) -> pl.DataFrame:
    """The table; without the last line where a crash left a part of one."""
    if not path.is_file():
        return pl.DataFrame(schema=METRICS)
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if not whole.startswith(_HEADER):
        return pl.DataFrame(schema=METRICS)
    return pl.read_csv(whole.encode(), schema=METRICS)


class MetricsLog:
    """Appends to `folder/metrics.csv` and `folder/tensorboard`, from `step` of `stage` on."""

    def __init__(self, folder: Path, stage: str, step: int) -> None:
        from tensorboardX import SummaryWriter

        self.stage = stage
        path = folder / "metrics.csv"
        kept = read_metrics(path).filter((pl.col("stage") != stage) | (pl.col("step") <= step))
        write_text(path, _HEADER + kept.write_csv(include_header=False))
        self._file = path.open("a", encoding="utf-8")
        self._events: Any = SummaryWriter(
            str(folder / "tensorboard" / stage), purge_step=step + 1 if step else None
        )

    def write(self, split: str, step: int, values: Mapping[str, float]) -> None:
        """One row a figure. Raises OSError when the disk is full."""
        for name, value in values.items():
            self._file.write(f"{self.stage},{split},{step},{name},{value!r}\n")
            self._events.add_scalar(f"{split}/{name}", value, step)
        self._file.flush()

    def close(self) -> None:
        self._file.close()
        self._events.close()
