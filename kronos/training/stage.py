"""One stage of training, step by step, so that it can stop anywhere and go on elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from kronos.training.objectives import Objective
from kronos.training.sampler import Draw, WindowSampler

__all__ = ["Recipe", "Stage", "step_seed"]


@dataclass(frozen=True)
class Recipe:
    """One stage: AdamW under a one-cycle learning rate (Smith, 2018).

    Attributes
    ----------
    steps
        Optimiser steps.
    batch
        Windows of a step, over all workers and accumulated parts.
    accumulate
        Parts of a worker's batch whose gradients are added up before a step.
    pct_start, div_factor
        Share of the steps that the rate rises, and peak over first rate.
    evaluate_every
        Steps between looks at the validation windows.
    patience
        Looks without an improvement after which the stage ends; 0 never ends it early.
    """

    steps: int
    batch: int
    learning_rate: float
    max_grad_norm: float
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    pct_start: float = 0.03
    div_factor: float = 10.0
    accumulate: int = 1
    epoch_windows: int = 100_000
    evaluate_every: int = 500
    patience: int = 0


@dataclass(eq=False)
class Best:
    """The lowest validation loss so far, its metrics and its weights."""

    metrics: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    looks_since: int = 0


class Stage:
    """Optimiser, schedule, sampler and the best weights so far of one stage on one worker.

    ``step()`` takes one optimiser step; ``look(metrics)`` is told the validation metrics;
    ``state()`` and ``restore(state)`` carry everything that decides what follows. Dropout's random
    numbers belong to (seed, step, rank), so that they need no state.

    Parameters
    ----------
    objective
        The stage's loss on the worker's device.
    wrapped
        The same behind DistributedDataParallel; None for one worker.
    autocast
        "bfloat16" computes the forward in it, where the hardware is good at it.
    """

    def __init__(
        self,
        name: str,
        objective: Objective,
        recipe: Recipe,
        sampler: WindowSampler,
        *,
        seed: int,
        wrapped: nn.Module | None = None,
        autocast: str | None = None,
    ) -> None:
        self.name, self.recipe, self.sampler, self.seed = name, recipe, sampler, seed
        self.objective = objective
        self.forward = objective if wrapped is None else wrapped
        self.autocast = autocast
        self.parameters = [p for p in objective.trained.parameters() if p.requires_grad]
        self.device = next(objective.trained.parameters()).device
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=recipe.learning_rate,
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,
        )
        self.scheduler = one_cycle(self.optimiser, recipe)
        self.steps = 0
        self.best = Best()

    @property
    def trained(self) -> nn.Module:
        return self.objective.trained

    @property
    def finished(self) -> bool:
        """All steps are taken, or the last looks brought no improvement."""
        patience = self.recipe.patience
        tired = patience > 0 and self.best.looks_since >= patience
        return self.steps >= self.recipe.steps or tired

    def step(self) -> dict[str, float]:
        """One step on this worker's windows. Returns loss, gradient norm and figures."""
        torch.manual_seed(step_seed(self.seed, self.name, self.steps, self.sampler.rank))
        self.trained.train()
        rate = self.scheduler.get_last_lr()[0]
        figures = self._gradients(self.sampler.draw(self.steps))
        norm = nn.utils.clip_grad_norm_(self.parameters, self.recipe.max_grad_norm)
        self.optimiser.step()
        self.scheduler.step()
        self.steps += 1
        told = {name: float(value) for name, value in figures.items()}
        return told | {"gradient_norm": float(norm), "learning_rate": rate}

    def _gradients(self, draw: Draw) -> dict[str, Tensor]:
        self.optimiser.zero_grad(set_to_none=True)
        parts = split_draw(draw, self.recipe.accumulate)
        totals: dict[str, Tensor] = {}
        for number, part in enumerate(parts, start=1):
            with self._sync(last=number == len(parts)), self._precision():
                arguments = self.objective.arguments(part, self.device)
                loss, figures = self.forward(*arguments)
                (loss / len(parts)).backward()
            for name, value in {"loss": loss.detach(), **figures}.items():
                totals[name] = totals.get(name, torch.zeros(())) + value.cpu() / len(parts)
        return totals

    def _sync(self, *, last: bool) -> AbstractContextManager[None]:
        """Workers exchange gradients once a step, with its last part."""
        quiet = getattr(self.forward, "no_sync", None)
        return nullcontext() if last or quiet is None else quiet()

    def _precision(self) -> AbstractContextManager[Any]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=getattr(torch, self.autocast))

    def look(self, metrics: dict[str, float]) -> bool:
        """Keep the weights if ``metrics["loss"]`` is the lowest so far; whether it is."""
        better = not self.best.metrics or metrics["loss"] < self.best.metrics["loss"]
        if better:
            weights = {k: v.detach().cpu().clone() for k, v in self.trained.state_dict().items()}
            self.best = Best(metrics | {"step": float(self.steps)}, weights)
        else:
            self.best.looks_since += 1
        return better

    def load_best(self) -> nn.Module:
        """The trained module in eval mode with its best weights."""
        self.trained.load_state_dict(self.best.weights)
        return self.trained.eval()

    def state(self) -> dict[str, Any]:
        """Tensors and plain values only: what :func:`torch.load` reads with weights_only."""
        return {
            "steps": self.steps,
            "trained": self.trained.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "sampler": self.sampler.state(self.steps),
            "best_metrics": self.best.metrics,
            "best_weights": self.best.weights,
            "looks_since": self.best.looks_since,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from ``state``. Raises ValueError when its sampler counted other steps."""
        if state["sampler"] != self.sampler.state(state["steps"]):
            raise ValueError(
                f"the checkpoint's sampler stood at {state['sampler']}, this one would stand at "
                f"{self.sampler.state(state['steps'])}: batch or epoch_windows have changed"
            )
        self.trained.load_state_dict(state["trained"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.steps = state["steps"]
        self.best = Best(state["best_metrics"], state["best_weights"], state["looks_since"])


def one_cycle(optimiser: torch.optim.Optimizer, recipe: Recipe) -> OneCycleLR:
    """The rate rises for at least two steps, or a short run would begin at its peak."""
    steps = max(recipe.steps, 3)
    return OneCycleLR(
        optimiser,
        max_lr=recipe.learning_rate,
        total_steps=steps + 1,
        pct_start=max(recipe.pct_start, 2 / (steps + 1)),
        div_factor=recipe.div_factor,
        cycle_momentum=False,
    )


def split_draw(draw: Draw, parts: int) -> list[Draw]:
    """``parts`` draws of equal size. Raises ValueError when the windows cannot be so divided."""
    windows = len(draw.batch)
    if windows % parts:
        raise ValueError(f"{windows} windows a worker cannot be accumulated in {parts} equal parts")
    size = windows // parts
    return [
        Draw(batch, draw.noise[n * size : (n + 1) * size])
        for n, batch in enumerate(draw.batch.split(size))
    ]


def step_seed(seed: int, name: str, step: int, rank: int) -> int:
    """A seed of its own for the random numbers of (stage, step, worker)."""
    words = np.random.SeedSequence([seed, *name.encode(), step, rank]).generate_state(2)
    return int(words[0]) << 31 | int(words[1]) >> 1
