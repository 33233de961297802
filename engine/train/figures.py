"""Loss curves as PNG."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from engine.files import replace_file

__all__ = ["draw_curves"]


def draw_curves(metrics: pl.DataFrame, folder: Path) -> list[Path]:
    """`<stage>_loss.png` of every stage in the long table `metrics`."""
    import matplotlib

    matplotlib.use("Agg")
    written = []
    for stage in metrics["stage"].unique(maintain_order=True):
        path = folder / f"{stage}_loss.png"
        rows = metrics.filter(pl.col("stage") == stage)
        replace_file(path, partial(_draw, stage=stage, rows=rows))
        written.append(path)
    return written


def _draw(path: Path, *, stage: str, rows: pl.DataFrame) -> None:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
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
    plt.close(figure)


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
