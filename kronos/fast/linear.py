"""Linear layers of the fast profile, in stock arithmetic or prepacked for oneDNN.

Both kinds offer the three forms that a block needs, so that oneDNN can do the activation, the
product and the residual sum while the result is still in registers.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Linear", "OneDnnLinear", "StockLinear", "linear_factory"]


class Linear(Protocol):
    """x [..., K] → x Wᵀ + b [..., N]."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None: ...
    def __call__(self, x: Tensor) -> Tensor: ...
    def silu(self, x: Tensor) -> Tensor: ...
    def times(self, x: Tensor, other: Tensor) -> Tensor: ...
    def plus(self, x: Tensor, other: Tensor) -> Tensor: ...


class StockLinear:
    """``torch.nn.functional.linear``, on any device."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight, self.bias = weight.contiguous(), bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def silu(self, x: Tensor) -> Tensor:
        return F.silu(self(x), inplace=True)

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        return self(x).mul_(other)

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        return self(x).add_(other)


class OneDnnLinear:
    """float32 on CPU, the weight reordered once into the blocks that oneDNN multiplies.

    The operators are private in torch: use them only where :func:`kronos.fast.kernels.check_kernel`
    found them present and right.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), None)
        self.bias = bias
        self.run = torch.ops.mkldnn._linear_pointwise.default
        self.run_binary = torch.ops.mkldnn._linear_pointwise.binary

    def __call__(self, x: Tensor) -> Tensor:
        return self.run(x, self.weight, self.bias, "none", [], "")

    def silu(self, x: Tensor) -> Tensor:
        return self.run(x, self.weight, self.bias, "swish", [], "")

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        return self.run_binary(x, other, self.weight, self.bias, "mul")

    def plus(self, x: Tensor, other: Tensor) -> Tensor:
        return self.run_binary(x, other, self.weight, self.bias, "add")


def linear_factory(kernel: str) -> type[Linear]:
    """The class of a kernel's linears, "stock" or "onednn"."""
    kinds: dict[str, type[Linear]] = {"stock": StockLinear, "onednn": OneDnnLinear}
    return kinds[kernel]
