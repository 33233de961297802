"""Cached generation against the plain recompute path, token by token."""

from __future__ import annotations

from typing import NamedTuple

import torch

from kronos.decoding.sampling import Sampling, filter_logits
from kronos.transformer import Kronos

BOUNDARY = 1e-5


class Draw(NamedTuple):
    """The first draw at which two generations of a path differ."""

    step: int
    part: int  # 0: s1, 1: s2


def first_difference(
    a: tuple[torch.Tensor, torch.Tensor],
    b: tuple[torch.Tensor, torch.Tensor],
    row: int,
    length: int,
) -> Draw | None:
    for step in range(a[0].shape[1] - length):
        for part in (0, 1):
            if a[part][row, length + step] != b[part][row, length + step]:
                return Draw(step, part)
    return None


@torch.inference_mode()
def boundary_distance(
    model: Kronos,
    tokens: tuple[torch.Tensor, torch.Tensor],
    stamp: torch.Tensor,
    row: int,
    length: int,
    draw: Draw,
    max_context: int,
    sampling: Sampling,
    uniforms: torch.Tensor | None,
) -> float:
    """How far the draw is from a point where rounding decides it, in probability or logits.

    Recomputed from the oracle's own tokens up to the draw: the gap between the two best logits
    (greedy), between the k-th and the next (top-k), between a cumulative probability and top_p
    or the uniform.
    """
    end = length + draw.step
    seen = slice(max(0, end - max_context), end)
    s1, s2 = (ids[row : row + 1, seen] for ids in tokens)
    hidden = model.hidden_states(s1, s2, stamp[row : row + 1, seen])
    logits = model.next_s1_logits(hidden)
    if draw.part == 1:
        logits = model.next_s2_logits(hidden, tokens[0][row : row + 1, end])
    ordered = logits[0].double().sort(descending=True).values
    if sampling.T == 0 or sampling.top_k == 1:
        return float(ordered[0] - ordered[1])
    ordered /= sampling.T
    distances = []
    if 0 < sampling.top_k < len(ordered):
        distances.append(float(ordered[sampling.top_k - 1] - ordered[sampling.top_k]))
    elif sampling.top_k == 0 and sampling.top_p < 1:
        above = ordered.softmax(-1).cumsum(-1)
        distances.append(float((above - sampling.top_p).abs().min()))
    if uniforms is not None:
        kept = filter_logits(
            logits.double() / sampling.T, top_k=sampling.top_k, top_p=sampling.top_p
        )
        edges = kept[0].softmax(-1).cumsum(-1)
        distances.append(float((edges - uniforms[row, draw.step, draw.part]).abs().min()))
    return min(distances)
