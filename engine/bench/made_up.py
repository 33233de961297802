"""What benchmarks are fed with: made-up bars and checkpoints, as large as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

__all__ = ["brownian_bars", "random_checkpoint"]


def brownian_bars(sessions: Sequence[date], tickers: int, seed: int = 0) -> pl.DataFrame:
    """Daily bars: geometric Brownian motions, 2 % a day, correlated 0.3 through one factor.

    The columns of the bars contract, sorted by (ticker, date).
    """
    rng = np.random.default_rng(seed)
    n = len(sessions)
    common = rng.normal(0, 0.02, n)
    moves = 0.3**0.5 * common + 0.7**0.5 * rng.normal(0, 0.02, (tickers, n))
    close = 50 * np.exp(np.cumsum(moves, axis=1))
    opening = close * np.exp(rng.normal(0, 0.005, close.shape))
    spread = np.exp(np.abs(rng.normal(0, 0.005, close.shape)))
    volume = np.exp(rng.normal(13, 0.5, close.shape)).round()
    names = pl.Series([f"S{i:05d}" for i in range(tickers)])
    days = pl.Series(list(sessions), dtype=pl.Date)
    return pl.DataFrame(
        {
            "date": days.gather(np.tile(np.arange(n), tickers)),
            "ticker": names.gather(np.repeat(np.arange(tickers), n)),
            "open": opening.ravel(),
            "high": (np.maximum(opening, close) * spread).ravel(),
            "low": (np.minimum(opening, close) / spread).ravel(),
            "close": close.ravel(),
            "volume": volume.ravel(),
            "amount": (volume * close).ravel(),
            "adj_factor": np.ones(tickers * n),
        }
    )


def random_checkpoint(folder: Path, size: str) -> Path:
    """Write a checkpoint of a published size ("mini", "small", "base") into `folder`.

    Its weights are random and seeded: as slow as the real ones.
    """
    from kronos.bench.setup import build

    predictor = build(size, device="cpu")
    predictor.model.save_pretrained(folder / "model")
    predictor.tokenizer.save_pretrained(folder / "tokenizer")
    card = f"---\nmax_context: {predictor.max_context}\n---\n\n# Random weights, for benchmarks\n"
    (folder / "model" / "README.md").write_text(card, encoding="utf-8")
    return folder
