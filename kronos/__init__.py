"""Kronos, the foundation model for candlesticks: tokenizer, transformer, predictor, checkpoints.

Example
-------
>>> from kronos import load_predictor
>>> predictor = load_predictor("kronos-nano", device="cpu")
>>> predictor.max_context >= 160
True
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kronos.embeddings import time_features
    from kronos.fast.kernels import check_kernel, choose_kernel
    from kronos.fast.machine import remembered_kernel
    from kronos.forecast import Forecast, PathStatistics, Sanity
    from kronos.predictor import KronosPredictor, load_predictor
    from kronos.tokenizer import KronosTokenizer
    from kronos.transformer import Kronos
    from kronos.weights.folder import CheckpointError
    from kronos.weights.info import CheckpointInfo, checkpoint_info

__all__ = [
    "CheckpointError",
    "CheckpointInfo",
    "Forecast",
    "Kronos",
    "KronosPredictor",
    "KronosTokenizer",
    "PathStatistics",
    "Sanity",
    "check_kernel",
    "checkpoint_info",
    "choose_kernel",
    "load_predictor",
    "remembered_kernel",
    "time_features",
]

# Loaded on first use: a name or a folder can be looked at without waiting for torch.
_HOMES = {
    "CheckpointError": "weights.folder",
    "CheckpointInfo": "weights.info",
    "Forecast": "forecast",
    "Kronos": "transformer",
    "KronosPredictor": "predictor",
    "KronosTokenizer": "tokenizer",
    "PathStatistics": "forecast",
    "Sanity": "forecast",
    "check_kernel": "fast.kernels",
    "checkpoint_info": "weights.info",
    "choose_kernel": "fast.kernels",
    "load_predictor": "predictor",
    "remembered_kernel": "fast.machine",
    "time_features": "embeddings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kronos' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"kronos.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
