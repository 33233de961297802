"""What a stage writes as it goes: checkpoints, figures of its steps, and curves drawn of them.

A checkpoint is whole or not there, and the last few are kept. `metrics.csv` is a long table: stage,
split (training or validation), step, metric, value. A run that is taken up again first drops the
rows after its checkpoint, so that a broken run leaves the same table as an unbroken one.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from engine.errors import UsageError
from engine.files import replace_file, write_json, write_text

__all__ = ["METRICS", "CheckpointStore", "MetricsLog", "draw_curves", "read_metrics"]

log = logging.getLogger(__name__)
NAME = re.compile(r"step-\d{9}\.pt")
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


def draw_curves(metrics: pl.DataFrame, folder: Path) -> list[Path]:
    """`<stage>_loss.png` of every stage in the long table `metrics`."""
    written = []
    for stage in metrics["stage"].unique(maintain_order=True):
        path = folder / f"{stage}_loss.png"
        rows = metrics.filter(pl.col("stage") == stage)
        replace_file(path, partial(_draw, stage=stage, rows=rows))
        written.append(path)
    return written


def _draw(path: Path, *, stage: str, rows: pl.DataFrame) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _plot(left, rows, "training", "loss", "training loss", smooth=True)
    if stage == "tokenizer":
        _plot(left, rows, "validation", "mse", "validation MSE")
        _plot(left, rows, "validation", "mse_s1", "validation MSE, s1 alone")
        left.set_yscale("symlog", linthresh=0.01)
        left.set_ylabel("loss, MSE in normalised units")
        for part in ("s1", "s2"):
            _plot(right, rows, "validation", f"{part}_used", f"{part} codes in use")
        right.set_ylabel("share of the codebook")
        right.set_ylim(0, 1)
    else:
        _plot(left, rows, "validation", "loss", "validation loss")
        left.set_ylabel("loss (nats)")
        for part in ("s1", "s2"):
            _plot(right, rows, "validation", part, f"validation {part}")
        right.set_ylabel("next-token loss (nats)")
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.suptitle(f"{stage}")
    figure.savefig(path, format="png", dpi=110)


def _plot(
    axes: Any, rows: pl.DataFrame, split: str, metric: str, label: str, *, smooth: bool = False
) -> None:
    line = rows.filter(pl.col("split") == split, pl.col("metric") == metric).sort("step")
    steps, values = line["step"].to_numpy(), line["value"]
    if smooth:
        axes.plot(steps, values.to_numpy(), color="0.8", linewidth=0.8)
        values = values.rolling_mean(9, center=True, min_samples=1)
    marker = {"marker": "o", "markersize": 3} if split == "validation" else {}
    axes.plot(steps, values.to_numpy(), label=label, linewidth=1.4, **marker)
