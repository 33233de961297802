"""Which kernel the fast profile uses, and what computes with it.

"stock" and "onednn" are torch's operators with one linear or the other (:mod:`kronos.fast.blocks`);
"native" runs whole forwards in compiled C (:mod:`kronos.fast.native`), where a model's widths are
whole vectors, else "stock" takes its place.

A kernel changes the last bits of every forecast, so it is chosen once for a whole run
(:func:`choose_kernel`), passed on as an argument, and where it is used only checked
(:func:`check_kernel`), never timed again. The choice is remembered for each processor model and
torch version in ``$XDG_CACHE_HOME/kronos/kernels.json``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

from kronos.decoding.cache import CacheSlice
from kronos.decoding.decoder import Decoder
from kronos.decoding.runner import BarsDecoder
from kronos.fast.blocks import OneDnnLinear
from kronos.fast.decoder import FastDecoder, NativeDecoder
from kronos.fast.machine import KERNELS, remember_kernel, remembered_answer
from kronos.fast.native import load_library
from kronos.fast.tokenizer import (
    FastBarsDecoder,
    NativeBarsDecoder,
    NativeEncoder,
    supports_tokenizer,
)
from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos

__all__ = [
    "KERNELS",
    "check_kernel",
    "choose_kernel",
    "fast_bars_decoder",
    "fast_decoder",
    "fast_encoder",
    "fault",
    "speed_ratios",
]

# Worth another kernel's bits only beyond the noise of a timing.
FASTER = 1.05


def fast_decoder(
    model: Kronos, *, kernel: str, max_context: int, dependency_rope: bool = False
) -> Decoder:
    """The decoder of the fast profile."""
    rope, native = dependency_rope, kernel == "native"
    if native and NativeDecoder.supports(model):
        return NativeDecoder(model, max_context=max_context, dependency_rope=rope)
    kernel = "stock" if native else kernel
    return FastDecoder(model, kernel=kernel, max_context=max_context, dependency_rope=rope)


def fast_bars_decoder(tokenizer: KronosTokenizer, *, kernel: str, max_context: int) -> BarsDecoder:
    """From token ids to bars."""
    native = kernel == "native"
    if native and supports_tokenizer(tokenizer):
        return NativeBarsDecoder(tokenizer, max_context=max_context)
    kernel = "stock" if native else kernel
    return FastBarsDecoder(tokenizer, kernel=kernel, max_context=max_context)


def fast_encoder(
    tokenizer: KronosTokenizer, *, kernel: str, max_context: int
) -> NativeEncoder | None:
    """From bars to token ids; None leaves that to the tokenizer."""
    if kernel == "native" and supports_tokenizer(tokenizer):
        return NativeEncoder(tokenizer, positions=max_context)
    return None


@torch.inference_mode()
def choose_kernel(device: str | torch.device = "cpu", *, remembered: bool = True) -> str:
    """The kernel for this machine: the fastest of those that are present and right.

    Parameters
    ----------
    remembered
        Take the answer that an earlier probe on this processor model and torch version left, and
        leave this one's; otherwise measure (about a second).
    """
    if torch.device(device).type != "cpu":
        return "stock"
    known = remembered_answer() if remembered else None
    if known is not None and fault(known) is None:
        return known
    ratios = speed_ratios()
    best = max(ratios, key=lambda kernel: ratios[kernel])
    kernel = best if ratios[best] > FASTER else "stock"
    if not remembered:
        return kernel
    # Two runs that probe a new machine side by side must agree: the first answer stands.
    if (first := remembered_answer()) not in (None, known):
        return first
    remember_kernel(kernel)
    return kernel


def check_kernel(kernel: str, device: str | torch.device = "cpu") -> None:
    """Raise ValueError unless ``kernel`` exists here and computes right."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; use one of {', '.join(KERNELS)}")
    if kernel != "stock":
        reason = "it is for the CPU" if torch.device(device).type != "cpu" else fault(kernel)
        if reason is not None:
            raise ValueError(f"kernel {kernel!r} does not work here ({reason}); use 'stock'")


def fault(kernel: str) -> str | None:
    """What is wrong with a kernel on this machine; None when nothing is."""
    return {"onednn": onednn_fault, "native": native_fault}.get(kernel, lambda: None)()


@cache
@torch.inference_mode()
def onednn_fault() -> str | None:
    generator = torch.Generator().manual_seed(0)
    try:
        for rows, inner, outer in ((1, 24, 40), (5, 512, 96), (130, 96, 512)):
            x = torch.randn(rows, inner, generator=generator)
            weight = torch.randn(outer, inner, generator=generator) / inner**0.5
            bias = torch.randn(outer, generator=generator)
            other = torch.randn(rows, outer, generator=generator)
            want = F.linear(x.double(), weight.double(), bias.double())
            linear = OneDnnLinear(weight, bias)
            for name, got, right in (
                ("linear", linear(x), want),
                ("linear of a batch", linear(x[None])[0], want),
                ("linear with silu", linear.silu(x), F.silu(want)),
                ("linear times", linear.times(x, other), want * other),
                ("linear plus", linear.plus(x, other), want + other),
            ):
                off = float((got - right).abs().max())
                if not off < 2e-5:
                    return f"{name}: error {off:.1e}"
    except (AttributeError, RuntimeError, TypeError) as error:
        return first_line(error)
    return None


@cache
@torch.inference_mode()
def native_fault() -> str | None:
    try:
        load_library()
    except (OSError, AttributeError) as error:
        return first_line(error)
    for width, heads, windows, length in ((32, 1, 1, 2), (96, 2, 3, 45), (208, 4, 5, 33)):
        model, (s1, s2, stamp) = probe_model(width, heads, windows, length + 2)
        off = distance(NativeDecoder(model, max_context=length + 2), model, s1, s2, stamp)
        if not off < 2e-5:
            return f"logits: error {off:.1e}"
    return None


def probe_model(
    width: int, heads: int, windows: int, length: int
) -> tuple[Kronos, tuple[Tensor, Tensor, Tensor]]:
    """A seeded model of two blocks, and ids and calendar features for it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Kronos(5, 5, 2, width, heads, 2 * width, 0, 0, 0, 0, True).eval()
        s1, s2 = torch.randint(0, 32, (2, windows, length))
        return model, (s1, s2, torch.randint(0, 7, (windows, length, 5)))


def distance(decoder: Decoder, model: Kronos, s1: Tensor, s2: Tensor, stamp: Tensor) -> float:
    """Largest difference from the model's own s2 logits, after a prefill and two steps."""
    rows, length = s1.shape
    cache, off = decoder.new_cache(rows, length), 0.0
    first = length - 2
    hidden = decoder.prefill(
        s1[:, :first], s2[:, :first], stamp[:, :first], CacheSlice(cache, 0, rows)
    )
    for end in range(first, length):
        if end > first:
            last = end - 1
            hidden = decoder.step(s1[:, last], s2[:, last], stamp[:, last], cache, last)
        plain = model.hidden_states(s1[:, :end], s2[:, :end], stamp[:, :end])
        got = decoder.s2_logits(hidden, s1[:, end], cache, end)
        off = max(off, float((got - model.next_s2_logits(plain, s1[:, end])).abs().max()))
    return off


@torch.inference_mode()
def speed_ratios(repeats: int = 5) -> dict[str, float]:
    """How many times faster than "stock" each kernel is; 0 where it is absent or wrong.

    The lesser of two typical shapes, a prefill and a decode step of one wide block.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Kronos(5, 5, 1, 512, 8, 1024, 0, 0, 0, 0, True).eval()
        s1, s2 = torch.randint(0, 32, (2, 32, 252))
        stamp = torch.randint(0, 7, (32, 252, 5))
    ratios = {}
    stock = FastDecoder(model, kernel="stock", max_context=512)
    for kernel in KERNELS[1:]:
        if fault(kernel) is not None:
            ratios[kernel] = 0.0
            continue
        other = fast_decoder(model, kernel=kernel, max_context=512)

        def prefill(decoder: Decoder) -> None:
            target = CacheSlice(decoder.new_cache(32, 300), 0, 4)
            decoder.prefill(s1[:4], s2[:4], stamp[:4], target)

        def step(decoder: Decoder) -> None:
            cache = decoder.new_cache(32, 300)
            decoder.step(s1[:, 0], s2[:, 0], stamp[:, 0], cache, 299)

        ratios[kernel] = min(
            faster(partial(work, stock), partial(work, other), repeats) for work in (prefill, step)
        )
    return ratios


def faster(usual: Callable[[], object], other: Callable[[], object], repeats: int) -> float:
    """Processor time of ``usual`` over that of ``other``: one thread, alternated, best of each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pairs = [(seconds(usual), seconds(other)) for _ in range(repeats)]
    finally:
        torch.set_num_threads(threads)
    usual_best, other_best = (min(times) for times in zip(*pairs, strict=True))
    return usual_best / other_best


def seconds(work: Callable[[], object], at_least: float = 5e-3) -> float:
    """Processor seconds of one call, over as many as take ``at_least``."""
    start, calls = time.process_time(), 0
    while (spent := time.process_time() - start) < at_least or calls == 0:
        work()
        calls += 1
    return spent / calls


def first_line(error: BaseException) -> str:
    return str(error).split("\n")[0][:160]
