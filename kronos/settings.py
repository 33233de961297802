"""Checks of a predictor's arguments."""

from __future__ import annotations

import torch

from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos

__all__ = ["check_pair", "check_settings"]


def check_pair(model: Kronos, tokenizer: KronosTokenizer) -> None:
    """Raise ValueError unless both speak of the same tokens."""
    if (model.s1_bits, model.s2_bits) != (tokenizer.s1_bits, tokenizer.s2_bits):
        raise ValueError(
            f"the model has {model.s1_bits}+{model.s2_bits} bits, the tokenizer "
            f"{tokenizer.s1_bits}+{tokenizer.s2_bits}; they do not belong together"
        )


def check_settings(
    device: torch.device,
    *,
    max_context: int,
    clip: float,
    dependency_rope: str,
    profile: str,
    memory_budget: int | None,
    dtype: str,
) -> None:
    """Raise ValueError for a setting outside its range."""
    if max_context < 2:
        raise ValueError(f"max_context is {max_context}; it must be at least 2 bars")
    if not clip > 0:
        raise ValueError(f"clip is {clip}; it must be above 0")
    for name, value, choices in (
        ("dependency_rope", dependency_rope, ("exact", "trained")),
        ("profile", profile, ("exact", "fast")),
        ("dtype", dtype, ("float32", "bfloat16")),
    ):
        if value not in choices:
            raise ValueError(f"{name} is {value!r}; use {choices[0]!r} or {choices[1]!r}")
    if memory_budget is not None and memory_budget < 1:
        raise ValueError(f"memory_budget is {memory_budget}; it must be a number of bytes")
    if dtype == "bfloat16" and device.type != "cuda":
        raise ValueError(f"dtype 'bfloat16' is for CUDA, not for {device.type}")
