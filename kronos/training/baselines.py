"""Token tables that a model must beat: unigram and bigram, fitted on training tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["TokenTables", "fit_tables"]

# Pseudo-counts: of every token in the unigram, and of the unigram in each row of the bigram.
UNIGRAM_COUNT = 0.5
BIGRAM_COUNT = 10.0


@dataclass(frozen=True, eq=False)
class TokenTables:
    """Log probabilities.

    s1, s2 : unigrams [V]
    next_s1 : [V, V], row = s1 of the bar before
    s2_given_s1 : [V1, V2], row = s1 of the same bar, which the model's s2 is conditioned on too
    """

    s1: Tensor
    s2: Tensor
    next_s1: Tensor
    s2_given_s1: Tensor

    def losses(self, s1: Tensor, s2: Tensor, keep: Tensor) -> dict[str, float]:
        """Mean losses in nats of bars 1.. of tokens [B, L] where ``keep`` [L - 1] is true."""
        before, after, fine = s1[:, :-1][:, keep], s1[:, 1:][:, keep], s2[:, 1:][:, keep]
        return {
            "s1_unigram": -float(self.s1[after].mean()),
            "s1_bigram": -float(self.next_s1[before, after].mean()),
            "s2_unigram": -float(self.s2[fine].mean()),
            "s2_bigram": -float(self.s2_given_s1[after, fine].mean()),
        }


def fit_tables(s1: Tensor, s2: Tensor, s1_bits: int, s2_bits: int) -> TokenTables:
    """Tables of tokens [B, L], bigrams smoothed towards the unigram."""
    sizes = 2**s1_bits, 2**s2_bits
    one, two = unigram(s1, sizes[0]), unigram(s2, sizes[1])
    return TokenTables(
        one.log(),
        two.log(),
        conditional(s1[:, :-1], s1[:, 1:], one, sizes[0]).log(),
        conditional(s1, s2, two, sizes[0]).log(),
    )


def unigram(ids: Tensor, size: int) -> Tensor:
    counts = torch.bincount(ids.flatten(), minlength=size).double() + UNIGRAM_COUNT
    return counts / counts.sum()


def conditional(given: Tensor, ids: Tensor, prior: Tensor, rows: int) -> Tensor:
    size = len(prior)
    pairs = (given * size + ids).flatten()
    counts = torch.bincount(pairs, minlength=rows * size).view(rows, size).double()
    counts = counts + BIGRAM_COUNT * prior
    return counts / counts.sum(dim=1, keepdim=True)
