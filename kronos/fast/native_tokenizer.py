"""Bars to token ids and back in the compiled kernel, for the fast profile."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kronos.decoding.cache import blocks_up_to
from kronos.fast.bars_decoder import folded_codes
from kronos.fast.panels import NativeBlock, NativeLinear, rotations, run
from kronos.layers import TransformerBlock
from kronos.tokenizer import KronosTokenizer

__all__ = ["NativeBarsDecoder", "NativeEncoder", "supports_tokenizer"]

# Rows that are tokenised or decoded together.
ROWS = 32
# A bit is the sign of a number. Nearer to zero than this share of the numbers' root mean square,
# some hundred times the rounding, the tokenizer's own arithmetic decides.
UNSURE = 3e-5


def packed_blocks(blocks: nn.ModuleList, positions: int) -> list[NativeBlock]:
    packed: list[NativeBlock] = []
    for block in blocks:
        assert isinstance(block, TransformerBlock)
        turn = packed[0].rotation if packed else rotations(block.self_attn.rotary, positions)
        packed.append(NativeBlock(block.self_attn, block.norm1.weight, turn, block))
    return packed


def scratch_layers(blocks: list[NativeBlock], rows: int, length: int) -> list[Tensor]:
    return [
        torch.empty(2, rows, block.heads, blocks_up_to(length), block.width) for block in blocks
    ]


class NativeEncoder:
    """(s1, s2) of normalised windows: those of ``tokenizer.encode``.

    recomputed : windows so far that the tokenizer's own arithmetic decided
    """

    @torch.inference_mode()
    def __init__(self, tokenizer: KronosTokenizer, *, positions: int) -> None:
        self.tokenizer = tokenizer
        self.positions = positions
        self.blocks = packed_blocks(tokenizer.encoder, positions)
        self.eps = tokenizer.encoder[0].norm1.eps if self.blocks else 0.0
        self.recomputed = 0

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Ids [W, L] each of ``x`` [W, L, 6]."""
        if x.shape[1] > self.positions:
            s1, s2 = self.tokenizer.encode(x, half=True)
            return s1, s2
        parts = [self.encode(part) for part in x.split(ROWS)]
        s1, s2 = (torch.cat(ids) for ids in zip(*parts, strict=True))
        return s1, s2

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.tokenizer.embed(x).contiguous()
        # A layer is read by its own block alone, so one serves them all.
        layers = scratch_layers(self.blocks[:1], *x.shape[:2]) * len(self.blocks)
        run(self.blocks, layers, hidden, torch.arange(len(x)), 0, self.eps)
        z = self.tokenizer.quant_embed(hidden)
        s1, s2 = self.tokenizer.tokenizer.indices(z)
        near = z.abs() < UNSURE * z.square().mean().sqrt()
        again = near.flatten(1).any(dim=1).nonzero()[:, 0]
        if len(again):
            self.recomputed += len(again)
            s1[again], s2[again] = self.tokenizer.encode(x[again], half=True)
        return s1, s2


class NativeBarsDecoder:
    """The decoder of ``tokenizer`` over at most ``max_context`` positions."""

    @torch.inference_mode()
    def __init__(self, tokenizer: KronosTokenizer, *, max_context: int) -> None:
        self.blocks = packed_blocks(tokenizer.decoder, max_context + 1)
        self.eps = tokenizer.decoder[0].norm1.eps if self.blocks else 0.0
        # Of a context the last block needs to leave no more than its keys and values behind.
        last = [
            NativeBlock(block.self_attn, block.norm1.weight, self.blocks[0].rotation)
            for block in tokenizer.decoder[-1:]
        ]
        self.context_blocks = self.blocks[:-1] + last
        self.head = NativeLinear(tokenizer.head.weight, tokenizer.head.bias)
        self.coarse, self.fine = folded_codes(tokenizer)

    def bars(self, s1: Tensor, s2: Tensor, windows: Tensor, steps: int) -> Tensor:
        """Normalised bars [R, steps, 6] of the last ``steps`` of ids [R, L].

        windows : [R], ascending; rows of one window have the same context
        """
        if steps == 1:  # the kernel sums a lone position in another order than one of several
            s1, s2 = (F.pad(ids, (0, 1)) for ids in (s1, s2))
            return self.bars(s1, s2, windows, 2)[:, :1]
        parts = zip(s1.split(ROWS), s2.split(ROWS), windows.split(ROWS), strict=True)
        return torch.cat([self.some_bars(*part, steps) for part in parts])

    def some_bars(self, s1: Tensor, s2: Tensor, windows: Tensor, steps: int) -> Tensor:
        rows, length = s1.shape
        before = length - steps
        layers = scratch_layers(self.blocks, rows, length)
        unique, inverse = torch.unique_consecutive(windows, return_inverse=True)
        firsts = torch.searchsorted(windows, unique)
        x = F.embedding(s1, self.coarse) + F.embedding(s2, self.fine)
        if before:
            context = x[firsts, :before].contiguous()
            run(self.context_blocks, layers, context, firsts, 0, self.eps)
            if len(unique) < rows:
                for layer in layers:
                    layer[:, :, :, :before] = layer[:, firsts[inverse], :, :before]
        tail = x[:, before:].contiguous()
        run(self.blocks, layers, tail, torch.arange(rows), before, self.eps)
        return self.head(tail.flatten(0, 1)).unflatten(0, (rows, steps))


def supports_tokenizer(tokenizer: KronosTokenizer) -> bool:
    """Whether the kernel computes tokenizers of these widths."""
    blocks = [*tokenizer.encoder, *tokenizer.decoder]
    return tokenizer.d_model % 16 == 0 and all(map(NativeBlock.supports, blocks))
