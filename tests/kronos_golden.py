"""Golden checkpoints and bars for the tests of kronos."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from kronos import Kronos, KronosTokenizer

DATA = Path(__file__).parent / "data" / "kronos"
CHECKPOINTS = ("learned", "fixed")


@dataclass(frozen=True)
class Golden:
    """A tiny random checkpoint and what the published implementation computes from it."""

    folder: Path
    facts: dict[str, Any]
    tensors: dict[str, np.ndarray]

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.tensors[name])

    def stamp(self, name: str) -> torch.Tensor:
        return self.tensor(name).long()

    def model(self) -> Kronos:
        return Kronos.from_pretrained(self.folder / "model")

    def tokenizer(self) -> KronosTokenizer:
        return KronosTokenizer.from_pretrained(self.folder / "tokenizer")

    def bars(self, series: int) -> pd.DataFrame:
        return pd.read_csv(self.folder / f"bars_{series}.csv", parse_dates=["timestamps"])


def load_golden(name: str) -> Golden:
    folder = DATA / name
    with np.load(folder / "tensors.npz") as arrays:
        tensors = {key: arrays[key] for key in arrays.files}
    return Golden(folder, json.loads((folder / "golden.json").read_text()), tensors)


def relative_error(got: Any, want: Any) -> float:
    """Largest difference over the largest magnitude."""
    got, want = np.asarray(got, dtype=np.float64), np.asarray(want, dtype=np.float64)
    assert got.shape == want.shape
    return float(np.abs(got - want).max() / np.abs(want).max())


def random_bars(windows: int, length: int, seed: int = 0) -> np.ndarray:
    """[windows, length, 6] bars in price units, of very different levels."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(rng.normal(0, 0.02, (windows, length)).cumsum(axis=1))
    spread = np.exp(np.abs(rng.normal(0, 0.01, (windows, length))))
    open_ = close * np.exp(rng.normal(0, 0.01, close.shape))
    volume = rng.lognormal(12, 0.5, close.shape)
    high, low = np.maximum(open_, close) * spread, np.minimum(open_, close) / spread
    return np.stack([open_, high, low, close, volume, volume * close], axis=-1)


def daily_stamps(windows: int, length: int, start: str = "2010-01-04") -> np.ndarray:
    """datetime64 [windows, length], consecutive days."""
    days = np.datetime64(start) + np.arange(length)
    return np.broadcast_to(days.astype("datetime64[us]"), (windows, length))
