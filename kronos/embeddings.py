"""Embeddings of token pairs and of calendar time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

__all__ = ["HierarchicalEmbedding", "TemporalEmbedding", "time_features"]

TIME_TABLES = {"minute": 60, "hour": 24, "weekday": 7, "day": 32, "month": 13}


def time_features(timestamps: Any) -> np.ndarray:
    """Minute, hour, weekday (Monday = 0), day and month of timestamps.

    ``timestamps`` is anything pandas reads as dates, of any shape (a Series, an index, a list,
    datetime64 [..., T]). Returns int64 [..., T, 5]. Raises ValueError for missing timestamps.
    """
    array = np.asarray(timestamps)
    index = pd.DatetimeIndex(pd.to_datetime(array.reshape(-1)))
    if index.hasnans:
        raise ValueError("timestamps: a value is missing (NaT); every bar needs its time")
    columns = [index.minute, index.hour, index.day_of_week, index.day, index.month]
    return np.stack([np.asarray(c, dtype=np.int64) for c in columns], axis=-1).reshape(
        *array.shape, 5
    )


class HierarchicalEmbedding(nn.Module):
    """(s1, s2) → one vector: both embeddings times √D, concatenated and projected."""

    def __init__(self, s1_bits: int, s2_bits: int, d_model: int) -> None:
        super().__init__()
        self.scale = math.sqrt(d_model)
        self.emb_s1 = nn.Embedding(2**s1_bits, d_model)
        self.emb_s2 = nn.Embedding(2**s2_bits, d_model)
        self.fusion_proj = nn.Linear(2 * d_model, d_model)
        nn.init.normal_(self.emb_s1.weight, std=d_model**-0.5)
        nn.init.normal_(self.emb_s2.weight, std=d_model**-0.5)

    def forward(self, s1_ids: Tensor, s2_ids: Tensor) -> Tensor:
        pair = torch.cat((self.emb_s1(s1_ids), self.emb_s2(s2_ids)), dim=-1)
        return self.fusion_proj(pair * self.scale)


class FixedEmbedding(nn.Module):
    """Sinusoidal table that is not trained (Vaswani et al., 2017)."""

    def __init__(self, size: int, d_model: int) -> None:
        super().__init__()
        rates = torch.exp(torch.arange(0, d_model, 2).float() * -(math.log(10_000.0) / d_model))
        angles = torch.outer(torch.arange(size).float(), rates)
        table = torch.stack((angles.sin(), angles.cos()), dim=-1).reshape(size, d_model)
        self.emb = nn.Embedding(size, d_model)
        self.emb.weight = nn.Parameter(table, requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        return self.emb(ids)


class TemporalEmbedding(nn.Module):
    """Sum of the embeddings of the five calendar features, learned or fixed."""

    def __init__(self, d_model: int, learn_te: bool) -> None:
        super().__init__()
        for name, size in TIME_TABLES.items():
            table: nn.Module
            if learn_te:
                table = nn.Embedding(size, d_model)
                nn.init.normal_(table.weight, std=d_model**-0.5)
            else:
                table = FixedEmbedding(size, d_model)
            setattr(self, f"{name}_embed", table)

    def forward(self, stamp: Tensor) -> Tensor:
        """``stamp`` [B, T, 5] as of :func:`time_features` to [B, T, D]."""
        minute, hour, weekday, day, month = stamp.long().unbind(dim=-1)
        return (
            self.hour_embed(hour)
            + self.weekday_embed(weekday)
            + self.day_embed(day)
            + self.month_embed(month)
            + self.minute_embed(minute)
        )
