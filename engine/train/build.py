"""A stage on a worker's device: network, loss, optimiser, windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.train.plan import StagePlan, WorkerConfig
from engine.train.spans import cut_windows

if TYPE_CHECKING:
    import torch

    from kronos.training import Batch, Stage, TrainingBars

__all__ = ["Validate", "build_stage"]

Validate = Callable[[Any], dict[str, float]]


def build_stage(
    worker: WorkerConfig, bars: TrainingBars, rank: int, world: int
) -> tuple[Stage, Validate]:
    """The stage on this worker's device, and what looks at its network on validation windows."""
    import torch
    from ray.train.torch import get_device, prepare_model

    from kronos import Kronos, KronosTokenizer
    from kronos.training import (
        ModelObjective,
        Recipe,
        Span,
        Stage,
        TokenizerObjective,
        WindowRules,
        WindowSampler,
        share_codebook,
        validation_batches,
    )

    plan, rules = worker.stage, WindowRules(**worker.windows)
    training = cut_windows(bars, rules, Span(*worker.training))
    held = cut_windows(
        bars, rules, Span(*worker.validation), after=worker.training[1], name="validation"
    )
    batches = validation_batches(held, rules, worker.validation_windows)
    recipe = Recipe(**plan.recipe)
    device = get_device()
    torch.manual_seed(worker.seed)
    kind: Any = KronosTokenizer if plan.name == "tokenizer" else Kronos
    network = kind(**plan.shape) if plan.base is None else kind.from_folder(plan.base)
    network.to(device)
    objective: Any
    if plan.name == "tokenizer":
        if world > 1:
            share_codebook(network, _mean_over_workers)
        objective = TokenizerObjective(network)
    else:
        assert plan.frozen is not None
        frozen = KronosTokenizer.from_folder(plan.frozen).to(device)
        objective = ModelObjective(network, frozen, **plan.objective)
    sampler = WindowSampler(
        training,
        batch=recipe.batch,
        epoch_windows=recipe.epoch_windows,
        context=rules.context,
        seed=worker.seed,
        stream=1 if plan.name == "tokenizer" else 2,
        rank=rank,
        world=world,
    )
    wrapped = prepare_model(objective) if world > 1 else None
    stage = Stage(
        plan.name,
        objective,
        recipe,
        sampler,
        seed=worker.seed,
        wrapped=wrapped,
        autocast=_autocast(worker.precision, device),
    )
    return stage, _evaluation(plan, objective, batches)


def _evaluation(plan: StagePlan, objective: Any, batches: list[Batch]) -> Validate:
    from kronos.training import evaluate_model, evaluate_tokenizer

    if plan.name == "tokenizer":
        return lambda network: evaluate_tokenizer(network, batches)
    tokenizer = objective.encode.tokenizer
    return lambda network: evaluate_model(network, tokenizer, batches, rotate=objective.rotate)


def _autocast(precision: str, device: torch.device) -> str | None:
    """bfloat16 where asked for; with auto, on GPUs with units for it (Ampere and later). On CPUs it
    was measured at half the speed of float32."""
    import torch

    if precision == "auto":
        good = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
        return "bfloat16" if good else None
    return "bfloat16" if precision == "bfloat16" else None


def _mean_over_workers(value: torch.Tensor) -> torch.Tensor:
    import torch.distributed as dist

    total = value.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
