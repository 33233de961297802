"""The compiled decode attention of ``attention.c``.

Torch's attention packs keys and values even for a single query; this one only reads them, and a
decode step spends most of its time there. It is compiled at first use by the machine's C compiler
into ``$XDG_CACHE_HOME/kronos``, for this processor, and runs on torch's own OpenMP threads. No
compiler, no harm: :mod:`kronos.kernels` then finds the kernel absent.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.machine import cache_folder, processor

__all__ = ["attend_newest", "load_library", "supports"]

SOURCE = Path(__file__).with_name("attention.c")
# Contraction is on, reassociation is off: all machines with fused multiply-add give equal bits.
FLAGS = ("-O2", "-march=native", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-fopenmp")
LANES, WIDEST = 16, 256


@cache
def load_library() -> ctypes.CDLL:
    """Compile once, load. Raises OSError saying why it cannot be had."""
    if platform.system() != "Linux":
        raise OSError("the compiled attention is for Linux")
    source = SOURCE.read_bytes()
    digest = hashlib.sha256(source + " ".join((*FLAGS, processor())).encode()).hexdigest()[:16]
    path = cache_folder() / f"attention-{digest}.so"
    library = ctypes.CDLL(str(path)) if path.is_file() else compile_library(path)
    library.kronos_attend.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_long] * 6 + [ctypes.c_float]
    library.kronos_attend.restype = ctypes.c_int
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
            [compiler, *FLAGS, "-c", str(SOURCE), "-o", f"{built}.o"],
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


def supports(layer: Tensor) -> bool:
    """Whether the compiled attention reads keys and values like these: [..., H, T, E]."""
    width = layer.shape[-1]
    return (
        layer.device.type == "cpu"
        and layer.dtype == torch.float32
        and width % LANES == 0
        and width <= WIDEST
    )


def attend_newest(query: Tensor, layer: Tensor, end: int) -> Tensor:
    """Attention of one query a row [R, H, 1, E] to the first ``end`` positions of a cache layer.

    layer : [2, R, H, T, E], keys and values. Returns [R, H, 1, E].
    """
    if not supports(layer):
        return F.scaled_dot_product_attention(query, layer[0, :, :, :end], layer[1, :, :, :end])
    query = query.contiguous()
    mixed = torch.empty_like(query)
    _, rows, heads, _, width = layer.shape
    failed = load_library().kronos_attend(
        query.data_ptr(),
        layer[0].data_ptr(),
        layer[1].data_ptr(),
        mixed.data_ptr(),
        rows,
        heads,
        width,
        end,
        layer.stride(1),
        layer.stride(2),
        width**-0.5,
    )
    if failed:
        raise MemoryError("the compiled attention cannot allocate its scores")
    return mixed
