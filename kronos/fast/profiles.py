"""What computes a profile: the decoder, and the ways from bars to token ids and back."""

from __future__ import annotations

from kronos.decoding.decoder import Decoder
from kronos.decoding.runner import BarsDecoder
from kronos.fast.bars_decoder import FastBarsDecoder
from kronos.fast.decoder import FastDecoder
from kronos.fast.native_decoder import NativeDecoder, supported
from kronos.fast.native_tokenizer import NativeBarsDecoder, NativeEncoder, supports_tokenizer
from kronos.tokenizer import KronosTokenizer
from kronos.transformer import Kronos

__all__ = ["fast_bars_decoder", "fast_decoder", "fast_encoder"]


def torch_kernel(kernel: str) -> str:
    """What takes the place of ``kernel`` where a model's widths are not whole vectors."""
    return "stock" if kernel == "native" else kernel


def fast_decoder(
    model: Kronos, *, kernel: str, max_context: int, dependency_rope: bool = False
) -> Decoder:
    """The decoder of the fast profile, see :mod:`kronos.fast.kernels`."""
    if kernel == "native" and supported(model):
        return NativeDecoder(model, max_context=max_context, dependency_rope=dependency_rope)
    return FastDecoder(
        model,
        kernel=torch_kernel(kernel),
        max_context=max_context,
        dependency_rope=dependency_rope,
    )


def fast_bars_decoder(tokenizer: KronosTokenizer, *, kernel: str, max_context: int) -> BarsDecoder:
    if kernel == "native" and supports_tokenizer(tokenizer):
        return NativeBarsDecoder(tokenizer, max_context=max_context)
    return FastBarsDecoder(tokenizer, kernel=torch_kernel(kernel), max_context=max_context)


def fast_encoder(
    tokenizer: KronosTokenizer, *, kernel: str, max_context: int
) -> NativeEncoder | None:
    """None leaves encoding to the tokenizer."""
    if kernel == "native" and supports_tokenizer(tokenizer):
        return NativeEncoder(tokenizer, positions=max_context)
    return None
