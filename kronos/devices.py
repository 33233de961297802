"""What depends on the device: its name, its memory and its random numbers."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "default_budget",
    "is_out_of_memory",
    "random_state",
    "resolve_device",
    "set_random_state",
]


def resolve_device(device: str | torch.device) -> torch.device:
    """The torch device of a name; "auto" is cuda, else mps, else cpu.

    Raises ValueError for a device this machine does not have.
    """
    available = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if str(device) == "auto":
        return torch.device(next(name for name, is_there in available.items() if is_there()))
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device {device!r} is unknown; use auto, cpu, cuda or mps") from error
    if resolved.type not in available:
        raise ValueError(f"device {device!r} is not supported; use auto, cpu, cuda or mps")
    there = available[resolved.type]()
    if resolved.type == "cuda":
        there = there and (resolved.index or 0) < torch.cuda.device_count()
    if not there:
        raise ValueError(f"device {device!r} is not available on this machine; use auto or cpu")
    return resolved


def default_budget(device: torch.device) -> int:
    """Bytes: 60 % of what is free on a CUDA device, elsewhere 2 GB."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * 0.6)
    return 2_000_000_000


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the device or on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        sign in text for sign in ("can't allocate memory", "not enough memory", "out of memory")
    )


def random_state(device: torch.device) -> Tensor:
    """The state of torch's generator for ``device``."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else torch.get_rng_state()


def set_random_state(device: torch.device, state: Tensor) -> None:
    """Put torch's generator for ``device`` back to a state of :func:`random_state`."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)
