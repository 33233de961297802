"""Binary spherical quantization (Zhao, Xiong, Krähenbühl 2024, arXiv 2406.07548).

A vector on the unit sphere becomes the nearest corner of the cube inscribed in it:
each of its coordinates keeps only its sign, ±1/√bits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["BSQuantizer", "BinarySphericalQuantizer", "bits_to_index", "index_to_bits"]


def bits_to_index(bits: Tensor) -> Tensor:
    """Boolean bits [..., n] to integers [...]; bit j has weight 2^j."""
    weights = 2 ** torch.arange(bits.shape[-1], device=bits.device)
    return (bits.long() * weights).sum(dim=-1)


def index_to_bits(index: Tensor, n_bits: int) -> Tensor:
    """Integers [...] to boolean bits [..., n_bits]; the inverse of :func:`bits_to_index`."""
    shifts = torch.arange(n_bits, device=index.device)
    return (index.unsqueeze(-1) >> shifts) & 1 == 1


class BinarySphericalQuantizer(nn.Module):
    """Quantize unit vectors [..., bits] to ±1/√bits, and price how well that went.

    Parameters
    ----------
    bits
        Length of a code.
    beta, zeta
        Weights of the commitment term and of the entropy term.
    gamma0, gamma
        Within the entropy term, weights of the entropy of a sample (to be low: sure codes) and of
        the codebook (to be high: all codes in use).
    group_size
        Width of a group of bits in published configurations; must divide ``bits``.
    """

    def __init__(
        self, bits: int, beta: float, gamma0: float, gamma: float, zeta: float, group_size: int
    ) -> None:
        super().__init__()
        if bits % group_size:
            raise ValueError(f"group_size {group_size} must divide the {bits} bits of a code")
        self.bits = bits
        self.beta, self.gamma0, self.gamma, self.zeta = beta, gamma0, gamma, zeta
        self.group_size = group_size
        # Part of published state dicts; nothing is computed from them.
        self.register_buffer("basis", 2 ** torch.arange(bits - 1, -1, -1))
        self.register_buffer("group_basis", 2 ** torch.arange(group_size - 1, -1, -1))

    def quantize(self, z: Tensor) -> Tensor:
        """The nearest corner, with the gradient of the identity (straight-through)."""
        corner = torch.where(z > 0, 1.0, -1.0).type_as(z) / self.bits**0.5
        return z + (corner - z).detach()

    def entropies(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean entropy of a sample's soft code, and entropy of the average soft code (nats).

        A soft code is the softmax of -‖z - c‖² over all corners c. Its bits are independent, and
        bit j is 1 with probability sigmoid(4 z_j/√bits). Both entropies are sums over bits; for the
        average code that is an upper bound, the one that published tokenizers are trained with.
        """
        positive = torch.sigmoid(4 * z / self.bits**0.5)
        per_bit = torch.stack((positive, 1 - positive), dim=-1)
        sample = entropy(per_bit).sum(dim=-1).mean()
        return sample, entropy(self.average_code(per_bit)).sum()

    def average_code(self, per_bit: Tensor) -> Tensor:
        """[bits, 2], the mean of the soft codes ``per_bit`` [..., bits, 2]."""
        return per_bit.flatten(0, -3).mean(dim=0)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors ``z`` [..., bits] to their corners [..., bits] and the scalar loss.

        loss = beta · mean ‖sg(corner) - z‖² + zeta · (gamma0 · H_sample - gamma · H_codebook)
        """
        corner = self.quantize(z)
        commitment = (corner.detach() - z).square().sum(dim=-1).mean()
        sample, codebook = self.entropies(z)
        penalty = self.gamma0 * sample - self.gamma * codebook
        return corner, self.beta * commitment + self.zeta * penalty


def entropy(probabilities: Tensor, eps: float = 1e-8) -> Tensor:
    """Entropy in nats over the last axis."""
    return -(probabilities * torch.log(probabilities + eps)).sum(dim=-1)


class BSQuantizer(nn.Module):
    """The quantizer, its code split in s1 (coarse, first bits) and s2 (fine, last bits)."""

    def __init__(
        self,
        s1_bits: int,
        s2_bits: int,
        beta: float,
        gamma0: float,
        gamma: float,
        zeta: float,
        group_size: int,
    ) -> None:
        super().__init__()
        self.s1_bits, self.s2_bits = s1_bits, s2_bits
        self.bsq = BinarySphericalQuantizer(
            s1_bits + s2_bits, beta, gamma0, gamma, zeta, group_size
        )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Any vectors ``z`` [..., bits] to (loss, corners [..., bits], joint index [...])."""
        corner, loss = self.bsq(F.normalize(z, dim=-1))
        return loss, corner, bits_to_index(z > 0)

    def indices(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(s1, s2) of ``z`` [..., bits]. The sign survives normalisation, so none is done."""
        bits = z > 0
        return bits_to_index(bits[..., : self.s1_bits]), bits_to_index(bits[..., self.s1_bits :])

    def corners(self, s1: Tensor, s2: Tensor | None = None) -> Tensor:
        """±1/√bits vectors of the codes; of the first half alone when ``s2`` is None."""
        bits = index_to_bits(s1, self.s1_bits)
        if s2 is not None:
            bits = torch.cat((bits, index_to_bits(s2, self.s2_bits)), dim=-1)
        return (bits.float() * 2 - 1) / self.bsq.bits**0.5
