"""The loop that both stages share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from kronos.training.schedule import Progress, one_cycle
from kronos.training.settings import StageSettings

__all__ = ["fit"]


def fit(
    module: nn.Module,
    stage: StageSettings,
    progress: Progress,
    loss: Callable[[], Tensor],
    evaluate: Callable[[], dict[str, float]],
) -> dict[str, float]:
    """Minimise ``loss`` and leave ``module`` in eval mode with its best weights.

    The best are those with the lowest ``evaluate()["loss"]``, looked at every
    ``stage.evaluate_every`` steps and at the end. Returns their metrics and ``steps``, the number
    of steps taken, and ``best_step``. Raises RuntimeError when the loss is not finite.
    """
    optimiser = optimiser_of(module, stage)
    best: dict[str, float] = {}
    weights: dict[str, Tensor] = {}

    def look() -> None:
        nonlocal best, weights
        module.eval()
        metrics = evaluate()
        progress.say(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
        if not best or metrics["loss"] < best["loss"]:
            best = metrics | {"best_step": progress.step}
            weights = {name: value.clone() for name, value in module.state_dict().items()}

    for step, done in progress:
        if step and step % stage.evaluate_every == 0:
            look()
        module.train()
        for group in optimiser.param_groups:
            group["lr"] = one_cycle(done, stage)
        optimiser.zero_grad(set_to_none=True)
        value = loss()
        if not torch.isfinite(value):
            raise RuntimeError(f"{progress.name}: the loss is {float(value)} at step {step}")
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), stage.max_grad_norm)
        optimiser.step()
    look()
    module.load_state_dict(weights)
    module.eval()
    return best | {"steps": progress.step}


def optimiser_of(module: nn.Module, stage: StageSettings) -> torch.optim.Optimizer:
    trained = [p for p in module.parameters() if p.requires_grad]
    return torch.optim.AdamW(
        trained, lr=stage.learning_rate, betas=stage.betas, weight_decay=stage.weight_decay
    )
