"""The probe, its memory and the compiled kernel."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from kronos_golden import Golden

from kronos import Kronos, KronosPredictor, KronosTokenizer
from kronos.decoding.cache import CacheSlice
from kronos.fast import kernels, machine
from kronos.fast.decoder import NativeDecoder
from kronos.fast.kernels import fast_decoder, fast_encoder
from kronos.fast.native import load_library
from kronos.fast.tokenizer import NativeEncoder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "kronos"


def test_the_choice_is_remembered(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "speed_ratios", lambda: {"onednn": 1.0, "native": 1.0})
    assert kernels.choose_kernel() == "stock"
    answers = json.loads((own_cache / "kernels.json").read_text())
    assert list(answers.values()) == ["stock"]
    assert f"torch {metadata.version('torch')}" in next(iter(answers))
    # Remembered: whatever a second timing would say.
    monkeypatch.setattr(kernels, "speed_ratios", lambda: {"onednn": 9.0, "native": 0.0})
    assert kernels.choose_kernel() == "stock"
    assert kernels.choose_kernel(remembered=False) == "onednn"
    assert kernels.choose_kernel("cuda") == "stock"


def test_an_answer_for_another_torch_is_not_taken(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cache.mkdir()
    (own_cache / "kernels.json").write_text('{"other, torch 1.0": "onednn", "x": 3}')
    monkeypatch.setattr(kernels, "speed_ratios", lambda: {"onednn": 0.0, "native": 0.0})
    assert kernels.choose_kernel() == "stock"
    assert len(json.loads((own_cache / "kernels.json").read_text())) == 3


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_broken_memory_is_as_none(own_cache: Path, content: str) -> None:
    own_cache.mkdir()
    (own_cache / "kernels.json").write_text(content)
    assert machine.read_answers(own_cache / "kernels.json") == {}
    assert machine.remembered_kernel() is None


def test_remembering_needs_no_torch(own_cache: Path) -> None:
    """Its import takes longer than all else that a run with nothing to score does."""
    machine.remember_kernel("onednn")
    code = "import kronos, sys; print(kronos.remembered_kernel(), 'torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["onednn", "False"]
    assert machine.remembered_kernel("cuda:0") == "stock"


def test_the_compiled_kernel_is_remembered_with_its_library(own_cache: Path) -> None:
    machine.remember_kernel("native")
    assert machine.remembered_kernel() is None
    machine.library_path().touch()
    assert machine.remembered_kernel() == "native"


def no_probe() -> dict[str, float]:
    raise AssertionError("probed again")


@pytest.mark.skipif(kernels.native_fault() is not None, reason="no compiled kernel here")
def test_an_answer_outlives_its_library(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timing noise in a second probe would change the kernel, and with it all scores."""
    machine.remember_kernel("native")
    monkeypatch.setattr(kernels, "speed_ratios", no_probe)
    assert kernels.choose_kernel() == "native"


def test_an_answer_that_cannot_be_written_holds_for_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").touch()
    monkeypatch.setattr(kernels, "speed_ratios", lambda: {"onednn": 2.0, "native": 0.0})
    monkeypatch.setattr(kernels, "fault", lambda _: None)
    assert kernels.choose_kernel() == "onednn"
    monkeypatch.setattr(kernels, "speed_ratios", no_probe)
    assert kernels.choose_kernel() == machine.remembered_kernel() == "onednn"


def test_of_two_runs_that_probe_at_once_the_first_answer_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow() -> dict[str, float]:
        machine.remember_kernel("stock")  # the other run's, meanwhile
        return {"onednn": 2.0, "native": 0.0}

    monkeypatch.setattr(kernels, "speed_ratios", slow)
    assert kernels.choose_kernel() == machine.remembered_answer() == "stock"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="vector instructions of x86")
def test_vector_instructions_are_those_that_torch_uses() -> None:
    assert machine.processor().endswith(torch.backends.cpu.get_cpu_capability())


def test_the_probe_measures() -> None:
    ratios = kernels.speed_ratios(repeats=1)
    assert set(ratios) == {"onednn", "native"}
    assert all(ratio >= 0 for ratio in ratios.values())


def test_without_a_compiler_the_kernel_is_absent(
    monkeypatch: pytest.MonkeyPatch, learned: Golden
) -> None:
    load_library.cache_clear()
    kernels.native_fault.cache_clear()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    try:
        assert kernels.native_fault() == "there is no C compiler (cc)"
        with pytest.raises(ValueError, match="no C compiler"):
            KronosPredictor(
                learned.model(), learned.tokenizer(), "cpu", profile="fast", kernel="native"
            )
    finally:
        load_library.cache_clear()
        kernels.native_fault.cache_clear()


@torch.inference_mode()
def forward_bits() -> str:
    """A hash over a prefill and a step of the compiled kernel, of a seeded model and input."""
    model, (s1, s2, stamp) = kernels.probe_model(208, 4, 13, 35)
    decoder = NativeDecoder(model, max_context=35)
    cache = decoder.new_cache(13, 35)
    decoder.prefill(s1[:, :34], s2[:, :34], stamp[:, :34], CacheSlice(cache, 0, 13))
    hidden = decoder.step(s1[:, 34], s2[:, 34], stamp[:, 34], cache, 34)
    logits = decoder.s2_logits(hidden, s1[:, 34], cache, 35)
    return hashlib.sha256(torch.cat((hidden, logits), dim=1).numpy().tobytes()).hexdigest()


@pytest.mark.skipif(kernels.native_fault() is not None, reason="no compiled kernel here")
class TestNative:
    def test_a_damaged_library_is_compiled_again(self, own_cache: Path) -> None:
        path = machine.library_path()
        path.parent.mkdir()
        path.write_bytes(b"no library")
        load_library.cache_clear()
        try:
            load_library()
        finally:
            load_library.cache_clear()
        assert path.stat().st_size > 10_000

    @pytest.mark.parametrize("wide", [4, 8])
    def test_narrower_registers_give_the_same_bits(
        self, wide: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What another processor computes: the library built for vectors of `wide` floats."""
        here = forward_bits()
        compiler = tmp_path / "cc"
        compiler.write_text(f'#!/bin/sh\nexec cc "$@" -DWIDE={wide}\n')
        compiler.chmod(0o755)
        environment = os.environ | {"CC": str(compiler), "XDG_CACHE_HOME": str(tmp_path / "other")}
        code = "import test_kernels; print(test_kernels.forward_bits())"
        folders = [str(Path(__file__).parent), *sys.path]
        said = subprocess.run(
            [sys.executable, "-c", code],
            env=environment | {"PYTHONPATH": os.pathsep.join(folders)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.stdout.strip() == here, said.stderr

    @pytest.mark.parametrize(("d_model", "heads"), [(64, 2), (208, 4), (96, 6)])
    @torch.inference_mode()
    def test_bits_depend_on_the_row_alone(self, d_model: int, heads: int) -> None:
        """Whatever the number of rows, of threads, or of positions prefilled together."""
        torch.manual_seed(1)
        model = Kronos(5, 5, 2, d_model, heads, 2 * d_model, 0, 0, 0, 0, True).eval()
        s1, s2 = torch.randint(0, 32, (2, 40, 45))
        stamp = torch.randint(0, 7, (40, 45, 5))
        decoder = NativeDecoder(model, max_context=45)

        def logits(rows: slice) -> torch.Tensor:
            part = s1[rows], s2[rows], stamp[rows]
            cache = decoder.new_cache(len(part[0]), 45)
            target = CacheSlice(cache, 0, len(part[0]))
            decoder.prefill(*(ids[:, :44] for ids in part), target)
            hidden = decoder.step(*(ids[:, 44] for ids in part), cache, 44)
            return decoder.s2_logits(hidden, part[0][:, 44], cache, 45)

        whole = logits(slice(None))
        assert torch.equal(logits(slice(7, 8))[0], whole[7])
        for threads in (2, 3):
            torch.set_num_threads(threads)
            assert torch.equal(logits(slice(None)), whole)
            assert torch.equal(logits(slice(5, 10)), whole[5:10])
            assert torch.equal(logits(slice(7, 8))[0], whole[7])

    @torch.inference_mode()
    def test_encoding_gives_the_tokens_of_the_tokenizer(self) -> None:
        torch.manual_seed(2)
        tokenizer = KronosTokenizer(
            6, 64, 2, 128, 4, 4, 0, 0, 0, 10, 10, 0.05, 1.0, 1.1, 0.05, 4
        ).eval()
        encoder, x = NativeEncoder(tokenizer, positions=50), torch.randn(70, 50, 6)
        want = tokenizer.encode(x, half=True)
        assert all(map(torch.equal, encoder(x), want))
        # A bias that puts one bit of one bar within rounding of zero: the tokenizer decides.
        tokenizer.quant_embed.bias[3] -= tokenizer._encode(x)[40, 30, 3]
        want = tokenizer.encode(x, half=True)
        assert all(map(torch.equal, encoder(x), want))
        assert encoder.recomputed >= 1
        assert all(
            map(
                torch.equal,
                encoder(x.repeat(1, 2, 1)),
                tokenizer.encode(x.repeat(1, 2, 1), half=True),
            )
        )

    def test_widths_that_are_no_whole_vectors_take_torch(self) -> None:
        model = Kronos(5, 5, 1, 24, 2, 48, 0, 0, 0, 0, True).eval()
        assert not isinstance(fast_decoder(model, kernel="native", max_context=9), NativeDecoder)
        tokenizer = KronosTokenizer(6, 24, 2, 48, 2, 2, 0, 0, 0, 5, 5, 0.05, 1.0, 1.1, 0.05, 5)
        assert fast_encoder(tokenizer, kernel="native", max_context=9) is None
        KronosPredictor(model, tokenizer, "cpu", profile="fast", kernel="native")
