"""A predictor by name: the checkpoint that ships, a published one, or a local folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from kronos.predictor import KronosPredictor
from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos
from kronos.weights.info import checkpoint_info

__all__ = ["load_predictor"]


def load_predictor(
    name: str | Path,
    tokenizer: str | Path | None = None,
    *,
    revision: str | None = None,
    tokenizer_revision: str | None = None,
    device: str | torch.device = "auto",
    max_context: int | None = None,
    clip: float = 5.0,
    dependency_rope: Any = "exact",
    profile: Any = "exact",
    kernel: str | None = None,
    memory_budget: int | None = None,
) -> KronosPredictor:
    """A :class:`KronosPredictor` by name; see :func:`checkpoint_info` and its own parameters.

    Raises :class:`CheckpointError` when a file is missing, does not fit, or cannot be fetched,
    and ValueError for a device that is not there.
    """
    info = checkpoint_info(
        name,
        tokenizer,
        revision=revision,
        tokenizer_revision=tokenizer_revision,
        max_context=max_context,
    )
    return KronosPredictor(
        Kronos.from_folder(info.model_folder),
        KronosTokenizer.from_folder(info.tokenizer_folder),
        device=device,
        max_context=info.max_context,
        clip=clip,
        profile=profile,
        kernel=kernel,
        dependency_rope=dependency_rope,
        memory_budget=memory_budget,
    )
