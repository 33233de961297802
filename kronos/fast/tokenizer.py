"""Bars to token ids and back, for the fast profile, in torch's operators or the compiled kernel.

The tokenizer's decoder is causal, so the context of a window needs to leave no more than its keys
and values behind; the generated bars of all its paths attend to those and to themselves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kronos.decoding.cache import DECODED_TOGETHER, blocks_up_to, up_to
from kronos.decoding.generation import Memory, run_blocks
from kronos.decoding.runner import row_chunks
from kronos.fast.blocks import FastBlock, Rotation, linear_factory
from kronos.fast.native import NativeBlock, NativeLinear, rotations, run
from kronos.layers import RotaryEmbedding, TransformerBlock
from kronos.quantizer import index_to_bits
from kronos.tokenizer import KronosTokenizer

__all__ = ["FastBarsDecoder", "NativeBarsDecoder", "NativeEncoder", "supports_tokenizer"]

# Contexts, and rows, that run together in torch: every forward has this shape, short ones are
# filled up.
ROWS = 8
# Rows that are tokenised or decoded together in the compiled kernel.
NATIVE_ROWS = 32
# A bit is the sign of a number. Nearer to zero than this share of the numbers' root mean square,
# some hundred times the rounding, the tokenizer's own arithmetic decides.
UNSURE = 3e-5


class FastBarsDecoder:
    """The decoder of ``tokenizer`` over at most ``max_context`` positions."""

    @torch.inference_mode()
    def __init__(self, tokenizer: KronosTokenizer, *, kernel: str, max_context: int) -> None:
        linear = linear_factory(kernel)
        # Without blocks nothing is rotated, and any table will do.
        rotary = tokenizer.decoder[0].self_attn.rotary if tokenizer.decoder else RotaryEmbedding(2)
        rotation = Rotation(rotary, max_context + DECODED_TOGETHER)
        self.blocks = [FastBlock(block, kernel, rotation) for block in tokenizer.decoder]
        self.head = linear(tokenizer.head.weight, tokenizer.head.bias)
        self.coarse, self.fine = folded_codes(tokenizer)

    def embed(self, s1: Tensor, s2: Tensor) -> Tensor:
        return F.embedding(s1, self.coarse) + F.embedding(s2, self.fine)

    def bars(self, s1: Tensor, s2: Tensor, windows: Tensor, steps: int) -> Tensor:
        """See :class:`kronos.decoding.runner.BarsDecoder`."""
        before, done = s1.shape[1] - steps, []
        numbers = torch.arange(len(windows), device=windows.device)
        # The first row of each window stands for the context that its paths share.
        unique, inverse = torch.unique_consecutive(windows, return_inverse=True)
        firsts = torch.searchsorted(windows, unique)
        size = min(ROWS, len(windows))
        for contexts, kept_contexts in row_chunks(firsts, size):
            memory = self.context(s1[contexts, :before], s2[contexts, :before])
            first = int(inverse[contexts[0]])
            members = numbers[(inverse >= first) & (inverse < first + kept_contexts)]
            for part, kept in row_chunks(members, size):
                index = inverse[part] - first
                bars = self.tails(s1[part, before:], s2[part, before:], memory, index)
                done.append(bars[:kept])
        return torch.cat(done)

    def context(self, s1: Tensor, s2: Tensor) -> Memory:
        """Keys and values [r, H, L, E] that contexts (ids [r, L]) leave in each block."""
        x, memory = self.embed(s1, s2), []
        for i, block in enumerate(self.blocks):
            query, key, value = block.project(x, 0)
            memory.append((key, value))
            if i + 1 < len(self.blocks):
                mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
                x = block.finish(x, mixed)
        return memory

    def tails(self, s1: Tensor, s2: Tensor, memory: Memory, index: Tensor) -> Tensor:
        """Normalised bars [R, steps, 6] of generated ids [R, steps].

        ``index`` [R] says which row of ``memory`` is the context of each.
        """
        kept = s1.shape[1]
        # Every part has one shape, so that a bar has the same bits however many follow it; whole
        # blocks, so that torch's CPU attention is aligned alike on every thread.
        padding = up_to(kept, DECODED_TOGETHER) - kept
        inputs = self.embed(*(F.pad(ids, (0, padding)) for ids in (s1, s2)))
        held = [(keys[index], values[index]) for keys, values in memory]
        start = memory[0][0].shape[2] if memory else 0
        done = []
        for part in inputs.split(DECODED_TOGETHER, dim=1):
            done.append(self.head(run_blocks(self.blocks, part, held, start)))
            start += DECODED_TOGETHER
        return torch.cat(done, dim=1)[:, :kept]


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
        """See :class:`kronos.decoding.runner.BarsDecoder`."""
        if steps == 1:  # the kernel sums a lone position in another order than one of several
            s1, s2 = (F.pad(ids, (0, 1)) for ids in (s1, s2))
            return self.bars(s1, s2, windows, 2)[:, :1]
        parts = zip(*(each.split(NATIVE_ROWS) for each in (s1, s2, windows)), strict=True)
        return torch.cat([self.some_bars(a, b, members, steps) for a, b, members in parts])

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


class NativeEncoder:
    """(s1, s2) of normalised windows: those of ``tokenizer.encode``.

    ``recomputed`` counts the windows so far that the tokenizer's own arithmetic decided.
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
        parts = [self.encode(part) for part in x.split(NATIVE_ROWS)]
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


def supports_tokenizer(tokenizer: KronosTokenizer) -> bool:
    """Whether the kernel computes tokenizers of these widths."""
    blocks = [*tokenizer.encoder, *tokenizer.decoder]
    return tokenizer.d_model % 16 == 0 and all(map(NativeBlock.supports, blocks))


def folded_codes(tokenizer: KronosTokenizer) -> tuple[Tensor, Tensor]:
    """Tables [2^bits, D] of s1 and s2 whose rows sum to the decoder's input."""
    embed = tokenizer.post_quant_embed
    size = tokenizer.codebook_dim**-0.5

    def corners(n_bits: int) -> Tensor:
        ids = torch.arange(2**n_bits, device=embed.weight.device)
        return torch.where(index_to_bits(ids, n_bits), size, -size).type_as(embed.weight)

    coarse, fine = embed.weight.split((tokenizer.s1_bits, tokenizer.s2_bits), dim=1)
    return (
        F.linear(corners(tokenizer.s1_bits), coarse, embed.bias),
        F.linear(corners(tokenizer.s2_bits), fine),
    )


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
