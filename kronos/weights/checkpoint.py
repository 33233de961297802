"""Modules that are loaded from checkpoint folders and from the Hub."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any, Self

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from kronos.weights.folder import CONFIG_FILE, WEIGHTS_FILE, CheckpointError, check_files, one_line
from kronos.weights.hub import fetch

__all__ = ["CheckpointMixin"]


class CheckpointMixin(nn.Module, PyTorchModelHubMixin):
    """A module of the Hub (``from_pretrained``, ``save_pretrained``), strict about its files."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        map_location: str | torch.device = "cpu",
        **model_kwargs: Any,
    ) -> Self:
        """Load from a folder or from a Hub repository, in eval mode.

        Parameters
        ----------
        pretrained_model_name_or_path
            An existing folder, or ``owner/name`` on the Hub.
        revision
            Branch, tag or commit on the Hub.
        cache_dir, force_download, local_files_only, token
            As in ``huggingface_hub``.
        map_location
            Device of the weights.
        model_kwargs
            Constructor arguments that replace those of ``config.json``.

        Raises
        ------
        CheckpointError
            When a file is missing or does not fit, or when the Hub cannot be reached and the files
            are not in its local cache.
        """
        name = str(pretrained_model_name_or_path)
        folder = Path(name)
        if not folder.is_dir():
            folder = fetch(
                name,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
            )
        return cls.from_folder(folder, map_location=map_location, **model_kwargs)

    @classmethod
    def from_folder(
        cls, folder: Path, *, map_location: str | torch.device = "cpu", **model_kwargs: Any
    ) -> Self:
        """Build from ``config.json``, load ``model.safetensors`` with ``strict=True``."""
        check_files(folder)
        arguments = read_config(folder) | model_kwargs
        known = set(inspect.signature(cls.__init__).parameters) - {"self"}
        if missing := sorted(known - set(arguments)):
            raise CheckpointError(
                f"{folder / CONFIG_FILE}: {', '.join(missing)} missing; is this a {cls.__name__}?"
            )
        try:
            module = cls(**{key: arguments[key] for key in known})
            state = load_file(folder / WEIGHTS_FILE)
        except (ValueError, TypeError, SafetensorError) as error:
            raise CheckpointError(f"{folder}: {one_line(error)}") from error
        check_state(folder, state, module.state_dict())
        module.load_state_dict(state, strict=True)
        return module.to(map_location).eval()

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """A minimal card; training writes a full one (see :mod:`kronos.training.card`)."""
        return ModelCard(f"---\nlibrary_name: kronos\n---\n\n# {type(self).__name__}\n")


def read_config(folder: Path) -> dict[str, Any]:
    """Constructor arguments from ``config.json``."""
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path}: not valid JSON ({one_line(error)})") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: must hold an object of constructor arguments")
    return config


def check_state(
    folder: Path, state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]
) -> None:
    """Raise :class:`CheckpointError` naming the first tensor that does not fit."""
    for rule, names in (
        ("missing", sorted(set(expected) - set(state))),
        ("unknown", sorted(set(state) - set(expected))),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise CheckpointError(
                f"{folder / WEIGHTS_FILE}: tensor {names[0]}{more} {rule}; the weights are of "
                "another kind of model than config.json describes"
            )
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise CheckpointError(
                f"{folder / WEIGHTS_FILE}: {name} has shape {list(state[name].shape)}, "
                f"config.json asks for {list(tensor.shape)}"
            )
