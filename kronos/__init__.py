"""Kronos, the foundation model for candlesticks: tokenizer, transformer, predictor, checkpoints.

Example
-------
>>> from kronos import load_predictor
>>> predictor = load_predictor("kronos-nano", device="cpu")
>>> predictor.max_context >= 160
True
"""

from __future__ import annotations

from kronos.checkpoint import CheckpointError
from kronos.embeddings import time_features
from kronos.forecast import Forecast, PathStatistics
from kronos.kernels import check_kernel, choose_kernel
from kronos.loading import CheckpointInfo, checkpoint_info, load_predictor
from kronos.predictor import KronosPredictor
from kronos.sanity import Sanity
from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos

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
    "time_features",
]
