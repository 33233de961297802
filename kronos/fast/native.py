"""The compiled kernel: the C of ``csrc``, called through ctypes, and weights as it reads them.

It is compiled at first use by the machine's C compiler into ``$XDG_CACHE_HOME/kronos``, for this
processor, and runs on torch's own OpenMP threads. No compiler, no harm: :mod:`kronos.fast.kernels`
then finds the kernel absent.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from ctypes import c_float, c_long, c_void_p
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.fast.machine import FLAGS, SOURCES, library_path
from kronos.layers import Attention, RotaryEmbedding, TransformerBlock

__all__ = [
    "LANES",
    "PAIR",
    "NativeBlock",
    "NativeLinear",
    "advise",
    "call",
    "fill_heads",
    "load_library",
    "pairs_first",
    "rotations",
    "run",
]

LANES = 16
PAIR = 2 * LANES


class Block(ctypes.Structure):
    """``Block`` of ``forward.c``; strides in floats."""

    _fields_ = [
        *((name, c_void_p) for name in ("qkv", "qkv_bias", "out", "out_bias", "up", "down")),
        *((name, c_void_p) for name in ("rotation", "keys", "values")),
        *((name, c_long) for name in ("heads", "width", "hidden", "row_stride", "head_stride")),
    ]


SIGNATURES = {
    "kronos_forward": [c_void_p, c_long, *[c_void_p] * 2, *[c_long] * 4, c_float],
    "kronos_linear": [*[c_void_p] * 4, *[c_long] * 3],
    "kronos_attend": [*[c_void_p] * 3, *[c_long] * 6],
}


@cache
def load_library() -> ctypes.CDLL:
    """Compile once, load. Raises OSError saying why it cannot be had."""
    if platform.system() != "Linux":
        raise OSError("the compiled kernel is for Linux")
    path = library_path()
    try:
        library = ctypes.CDLL(str(path))
    except OSError:  # not there yet, or damaged
        library = compile_library(path)
    for name, arguments in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, ctypes.c_int
    library.kronos_advise.argtypes, library.kronos_advise.restype = [c_void_p, c_long], None
    return library


def compile_library(path: Path) -> ctypes.CDLL:
    """Compile to ``path``, whole or not at all; to a temporary folder if that is not writable."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise OSError("there is no C compiler (cc)")
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / path.name
        # Linked without OpenMP: its symbols are those that torch has already loaded, and one pool
        # of threads does all the work.
        commands = (
            [compiler, *FLAGS, "-c", str(SOURCES / "forward.c"), "-o", f"{built}.o"],
            [compiler, "-shared", f"{built}.o", "-o", str(built), "-lm"],
        )
        for command in commands:
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            if said.returncode:
                raise OSError(f"{compiler} failed: {said.stderr.strip()[:200]}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(f".{os.getpid()}")
            shutil.copy(built, beside)
            os.replace(beside, path)
        except OSError:
            return ctypes.CDLL(str(built))
    return ctypes.CDLL(str(path))


def call(name: str, *arguments: object) -> None:
    """Call a function of the library, tensors as their addresses. Raises MemoryError if it says."""
    given = (a.data_ptr() if isinstance(a, Tensor) else a for a in arguments)
    if getattr(load_library(), name)(*given):
        raise MemoryError("the compiled kernel cannot allocate memory for its work")


def advise(tensor: Tensor) -> Tensor:
    """``tensor``, its memory in large pages where the system allows: they are faster to read."""
    load_library().kronos_advise(tensor.data_ptr(), tensor.numel() * tensor.element_size())
    return tensor


def padded_width(width: int) -> int:
    """Floats that a head of ``width`` takes: whole panels."""
    return -(-width // PAIR) * PAIR


def panels(weight: Tensor) -> Tensor:
    """[N, K] to [N / PAIR, K, PAIR], N filled up with zeros."""
    weight = F.pad(weight.float(), (0, 0, 0, -len(weight) % PAIR))
    packed = torch.empty(len(weight) // PAIR, weight.shape[1], PAIR)
    return advise(packed).copy_(weight.unflatten(0, (-1, PAIR)).transpose(1, 2))


def fill_heads(rows: Tensor, heads: int) -> Tensor:
    """Rows [heads · width, ...], each head filled up with zeros to :func:`padded_width`."""
    split = rows.unflatten(0, (heads, -1))
    filler = split.new_zeros(heads, padded_width(split.shape[1]) - split.shape[1], *rows.shape[1:])
    return torch.cat((split, filler), dim=1).flatten(0, 1)


def pairs_first(rows: Tensor, heads: int) -> Tensor:
    """Rows [heads · width, ...] of half-split pairs, filled up, in the order of rotated panels.

    A panel holds the first members of LANES pairs and then the second members of the same.
    """
    halves = rows.unflatten(0, (heads, 2, -1))
    half = padded_width(2 * halves.shape[2]) // 2
    filler = halves.new_zeros(heads, 2, half - halves.shape[2], *rows.shape[1:])
    filled = torch.cat((halves, filler), dim=2).unflatten(2, (-1, LANES))
    return filled.transpose(1, 2).flatten(0, 3)


def rotations(rotary: RotaryEmbedding, positions: int) -> Tensor:
    """[positions, width / PAIR, 2, LANES]: cosines and sines of each panel's pairs."""
    inv_freq = rotary.inv_freq.float()
    angles = torch.outer(torch.arange(positions).float(), inv_freq)
    angles = F.pad(angles, (0, -angles.shape[1] % LANES)).unflatten(1, (-1, LANES))
    return torch.stack((angles.cos(), angles.sin()), dim=2).contiguous()


class NativeLinear:
    """x [R, K] → x Wᵀ + b [R, N], N a multiple of PAIR."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.outer, self.inner = weight.shape
        self.weight = panels(weight)
        filled = len(self.weight) * PAIR
        self.bias = torch.zeros(filled)
        if bias is not None:
            self.bias[: self.outer] = bias

    def __call__(self, x: Tensor) -> Tensor:
        x = x.contiguous()
        out = torch.empty(len(x), len(self.bias))
        call("kronos_linear", x, self.weight, self.bias, out, len(x), self.inner, len(self.bias))
        return out[:, : self.outer]


class NativeBlock:
    """Packed weights of one block; without ``ffn``, of the keys and values of an attention only."""

    def __init__(
        self,
        attention: Attention,
        norm: Tensor,
        rotation: Tensor | None,
        block: TransformerBlock | None = None,
    ) -> None:
        heads = attention.n_heads
        q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
        size = q.out_features // heads
        self.heads, self.width, self.rotation = heads, padded_width(size), rotation
        parts = [(k.weight, k.bias, 1.0)]
        if block is not None:
            parts.insert(0, (q.weight, q.bias, size**-0.5))
        weights = [pairs_first(weight * scale, heads) for weight, _, scale in parts]
        biases = [pairs_first(bias * scale, heads) for _, bias, scale in parts]
        self.qkv = panels(torch.cat((*weights, fill_heads(v.weight, heads))) * norm)
        self.qkv_bias = torch.cat((*biases, fill_heads(v.bias, heads))).contiguous()
        self.out = self.out_bias = self.up = self.down = None
        self.hidden = 0
        if block is not None:
            out, ffn = attention.out_proj, block.ffn
            self.out = panels(fill_heads(out.weight.T, heads).T)
            self.out_bias = F.pad(out.bias.float(), (0, -len(out.bias) % PAIR))
            both = torch.stack([w.weight.unflatten(0, (-1, LANES)) for w in (ffn.w1, ffn.w3)], 1)
            self.up = panels(both.flatten(0, 2) * block.norm2.weight)
            self.down = panels(ffn.w2.weight)
            self.hidden = ffn.w1.out_features

    @staticmethod
    def supports(block: TransformerBlock) -> bool:
        """Whether the widths of a block are whole vectors."""
        attention, ffn = block.self_attn, block.ffn
        sizes = (attention.q_proj.in_features, ffn.w1.out_features)
        return all(size % LANES == 0 for size in sizes)

    def bound(self, layer: Tensor) -> Block:
        """The structure of ``forward.c`` that writes to a cache ``layer`` [2, R, H, T, E]."""
        tensors = (self.qkv, self.qkv_bias, self.out, self.out_bias, self.up, self.down,
                   self.rotation, layer[0], layer[1])  # fmt: skip
        pointers = (None if tensor is None else tensor.data_ptr() for tensor in tensors)
        return Block(
            *pointers, self.heads, self.width, self.hidden, layer.stride(1), layer.stride(2)
        )


def run(
    blocks: Sequence[NativeBlock],
    layers: list[Tensor],
    x: Tensor,
    rows: Tensor,
    start: int,
    eps: float,
) -> None:
    """Run ``x`` [W, L, D] through the blocks, in place, from position ``start``.

    ``layers`` are the caches [2, R, H, T, E] of the blocks, T a multiple of 8; ``rows`` [W] says
    which row of them each window reads and writes.
    """
    bound = (Block * len(blocks))(
        *(block.bound(layer) for block, layer in zip(blocks, layers, strict=True))
    )
    windows, length, inner = x.shape
    assert x.is_contiguous()
    assert rows.is_contiguous()
    call("kronos_forward", ctypes.addressof(bound), len(blocks), x, rows, inner, windows, length,
         start, eps)  # fmt: skip
