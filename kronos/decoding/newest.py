"""Attention of the newest position to a cache, in stock arithmetic.

Torch's CPU attention gives a row other last bits on another thread when there is one query: its
scratch memory is then aligned differently from thread to thread. Here all scores are padded to
whole aligned blocks, so a row's bits depend on that row alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.decoding.cache import blocks_up_to

__all__ = ["attend_newest"]


def attend_newest(query: Tensor, layer: Tensor, end: int) -> Tensor:
    """Attention of one query a row [R, H, 1, E] to the first ``end`` positions of a cache layer.

    layer : [2, R, H, T, E], keys and values; values at [end, next multiple of 16) are finite.
    Returns [R, H, 1, E].
    """
    if layer.device.type != "cpu":
        return F.scaled_dot_product_attention(query, layer[0, :, :, :end], layer[1, :, :, :end])
    _, rows, heads, length, width = layer.shape
    keys, values = layer.view(2, rows * heads, length, width)[:, :, : blocks_up_to(end)]
    scores = torch.bmm(query.reshape(rows * heads, 1, width) * width**-0.5, keys.transpose(1, 2))
    scores[:, :, end:] = -torch.inf
    return torch.bmm(scores.softmax(dim=-1), values).view(rows, heads, 1, width)
