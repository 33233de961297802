"""Token ids back to bars, for the fast profile: the context of a window is decoded once.

The tokenizer's decoder is causal, so the context needs to leave no more than its keys and values
behind; the generated bars of all paths of the window attend to those and to themselves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.decoding.batching import row_chunks
from kronos.decoding.cache import DECODED_TOGETHER, up_to
from kronos.fast.decoder import FastBlock, Rotation
from kronos.fast.linear import linear_factory
from kronos.layers import RotaryEmbedding
from kronos.quantizer import index_to_bits
from kronos.tokenizer import KronosTokenizer

__all__ = ["FastBarsDecoder", "folded_codes"]

Memory = list[tuple[Tensor, Tensor]]
# Contexts, and rows, that run together: every forward has this shape, short ones are filled up.
ROWS = 8


class FastBarsDecoder:
    """The decoder of ``tokenizer`` over at most ``max_context`` positions."""

    @torch.inference_mode()
    def __init__(self, tokenizer: KronosTokenizer, *, kernel: str, max_context: int) -> None:
        linear = linear_factory(kernel)
        self.blocks = [FastBlock(block, kernel) for block in tokenizer.decoder]
        # Without blocks nothing is rotated, and any table will do.
        rotary = tokenizer.decoder[0].self_attn.rotary if self.blocks else RotaryEmbedding(2)
        self.rotation = Rotation(rotary, max_context + DECODED_TOGETHER)
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
            query, key, value = block.project(x, self.rotation, 0)
            memory.append((key, value))
            if i + 1 < len(self.blocks):
                mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
                x = block.finish(x, mixed)
        return memory

    def tails(self, s1: Tensor, s2: Tensor, memory: Memory, index: Tensor) -> Tensor:
        """Normalised bars [R, steps, 6] of generated ids [R, steps].

        index : [R], which row of ``memory`` is the context of each.
        """
        kept = s1.shape[1]
        # Every part has one shape, so that a bar has the same bits however many follow it; whole
        # blocks, so that torch's CPU attention is aligned alike on every thread.
        padding = up_to(kept, DECODED_TOGETHER) - kept
        inputs = self.embed(*(F.pad(ids, (0, padding)) for ids in (s1, s2)))
        held = [(keys[index], values[index]) for keys, values in memory]
        length = memory[0][0].shape[2] if memory else 0
        done = []
        for x in inputs.split(DECODED_TOGETHER, dim=1):
            seen = length + x.shape[1]
            mask = torch.ones(x.shape[1], seen, dtype=torch.bool, device=x.device).tril(length)
            for number, block in enumerate(self.blocks):
                query, key, value = block.project(x, self.rotation, length)
                keys, values = held[number]
                held[number] = torch.cat((keys, key), 2), torch.cat((values, value), 2)
                mixed = F.scaled_dot_product_attention(query, *held[number], attn_mask=mask)
                x = block.finish(x, mixed)
            done.append(self.head(x))
            length = seen
        return torch.cat(done, dim=1)[:, :kept]


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
