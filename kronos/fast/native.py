"""The compiled kernel: the C of ``csrc``, called through ctypes.

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
from ctypes import c_float, c_long, c_void_p
from functools import cache
from pathlib import Path

from torch import Tensor

from kronos.fast.kernel_cache import FLAGS, SOURCES, library_path

__all__ = ["Block", "advise", "call", "load_library"]


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
