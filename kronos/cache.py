"""Keys and values of the positions seen so far, in buffers sized once."""

from __future__ import annotations

from typing import Self

from torch import Tensor

__all__ = ["KVCache", "LayerCache"]


class LayerCache:
    """One layer: a buffer [2, rows, heads, positions, head width] filled up to ``length``."""

    def __init__(self, buffer: Tensor, length: int = 0) -> None:
        self.buffer = buffer
        self.length = length

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add [rows, heads, T, E] at the end; all keys and values so far."""
        end = self.length + key.shape[2]
        self.buffer[0, :, :, self.length : end] = key
        self.buffer[1, :, :, self.length : end] = value
        self.length = end
        return self.keys, self.values

    @property
    def keys(self) -> Tensor:
        return self.buffer[0, :, :, : self.length]

    @property
    def values(self) -> Tensor:
        return self.buffer[1, :, :, : self.length]

    def select(self, rows: Tensor) -> Self:
        """A copy that holds ``rows`` (indices, repeats allowed)."""
        _, _, heads, positions, width = self.buffer.shape
        copy = self.buffer.new_empty(2, len(rows), heads, positions, width)
        copy[:, :, :, : self.length] = self.buffer[:, rows, :, : self.length]
        return type(self)(copy, self.length)


class KVCache:
    """One :class:`LayerCache` a block, and one of the dependency layer.

    ``rotate`` says whether the dependency layer's keys are kept rotated by their positions.
    """

    def __init__(
        self, layers: list[LayerCache], dependency: LayerCache, *, rotate: bool = False
    ) -> None:
        self.layers, self.dependency, self.rotate = layers, dependency, rotate

    @classmethod
    def empty(
        cls,
        *,
        rows: int,
        positions: int,
        n_layers: int,
        n_heads: int,
        dependency_heads: int,
        like: Tensor,
        rotate: bool = False,
    ) -> Self:
        """Buffers for ``positions`` positions, of the width, device and type of ``like`` [D]."""
        width = like.shape[-1]

        def layer(heads: int) -> LayerCache:
            return LayerCache(like.new_empty(2, rows, heads, positions, width // heads))

        return cls(
            [layer(n_heads) for _ in range(n_layers)], layer(dependency_heads), rotate=rotate
        )

    @property
    def length(self) -> int:
        return self.dependency.length

    def select(self, rows: Tensor) -> Self:
        return type(self)(
            [layer.select(rows) for layer in self.layers],
            self.dependency.select(rows),
            rotate=self.rotate,
        )
