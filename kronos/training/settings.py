"""Everything that decides a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["MODEL", "TOKENIZER", "StageSettings", "TrainingSettings"]

# kronos-nano: both checkpoints together stay below 4 MB in float32.
TOKENIZER: dict[str, Any] = {
    "d_in": 6,
    "d_model": 64,
    "n_heads": 4,
    "ff_dim": 128,
    "n_enc_layers": 3,
    "n_dec_layers": 3,
    "ffn_dropout_p": 0.0,
    "attn_dropout_p": 0.0,
    "resid_dropout_p": 0.0,
    "s1_bits": 8,
    "s2_bits": 8,
    "beta": 0.05,
    "gamma0": 1.0,
    "gamma": 1.1,
    "zeta": 0.05,
    "group_size": 4,
}
MODEL: dict[str, Any] = {
    "s1_bits": 8,
    "s2_bits": 8,
    "n_layers": 3,
    "d_model": 128,
    "n_heads": 4,
    "ff_dim": 256,
    "ffn_dropout_p": 0.2,
    "attn_dropout_p": 0.0,
    "resid_dropout_p": 0.2,
    "token_dropout_p": 0.0,
    "learn_te": True,
}


@dataclass(frozen=True)
class StageSettings:
    """One stage of training: AdamW under a one-cycle learning rate."""

    steps: int
    batch: int
    learning_rate: float
    max_grad_norm: float
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    pct_start: float = 0.03
    div_factor: float = 10.0
    evaluate_every: int = 500


@dataclass(frozen=True)
class TrainingSettings:
    """A two-stage run.

    window : bars of a training window
    context : (shortest, longest) part of a window that its statistics come from; drawn per batch
    context_weight : weight of the loss on the next bars inside the context part, relative to 1
        after it. Inside, the statistics of the window tell something of the bars to come.
    held_back : sessions at the end that no weight is fitted on
    gap : sessions left out before them; None is one window
    sibling : s2 is conditioned on the true s1 ("teacher") or on one sampled from the model
    dependency_rope : train the dependency layer with rotation, as published models were; False
        trains it without, as decoding uses it
    max_context : stated in the model card, read when the checkpoint is loaded
    """

    tokenizer: dict[str, Any] = field(default_factory=lambda: dict(TOKENIZER))
    model: dict[str, Any] = field(default_factory=lambda: dict(MODEL))
    tokenizer_stage: StageSettings = StageSettings(7000, 8, 4e-3, 2.0)
    model_stage: StageSettings = StageSettings(1600, 16, 2e-3, 3.0, evaluate_every=200)
    window: int = 160
    context: tuple[int, int] = (48, 136)
    context_weight: float = 0.25
    clip: float = 5.0
    held_back: int = 252
    gap: int | None = None
    validation_windows: int = 512
    sibling: Literal["teacher", "sampled"] = "teacher"
    dependency_rope: bool = False
    max_context: int = 160
    seed: int = 0

    def __post_init__(self) -> None:
        low, high = self.context
        if not 2 <= low <= high < self.window:
            raise ValueError(
                f"context {self.context} must satisfy 2 ≤ shortest ≤ longest < window {self.window}"
            )
        for key in ("s1_bits", "s2_bits"):
            if self.tokenizer[key] != self.model[key]:
                raise ValueError(f"{key} of the tokenizer and of the model must agree")
