"""One explicit device for everything."""

from __future__ import annotations

import torch

__all__ = ["resolve_device"]


def resolve_device(device: str | torch.device) -> torch.device:
    """The torch device of a name; "auto" is cuda, else mps, else cpu.

    Raises ValueError for a device this machine does not have.
    """
    if str(device) == "auto":
        return torch.device(
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device {device!r} is unknown; use auto, cpu, cuda or mps") from error
    available = {
        "cpu": lambda: True,
        "cuda": lambda: (
            torch.cuda.is_available() and (resolved.index or 0) < torch.cuda.device_count()
        ),
        "mps": torch.backends.mps.is_available,
    }
    if resolved.type not in available:
        raise ValueError(f"device {device!r} is not supported; use auto, cpu, cuda or mps")
    if not available[resolved.type]():
        raise ValueError(f"device {device!r} is not available on this machine; use auto or cpu")
    return resolved
