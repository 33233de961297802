"""Which of the fast profile's kernels a run computes with: the one asked for, or one remembered."""

from __future__ import annotations

import pytest

from engine.config.settings import ModelSettings, ScoringSettings
from engine.errors import UsageError
from engine.forecasters.kronos import KronosSpec
from kronos.fast import kernels, machine, native


@pytest.fixture(autouse=True)
def own_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def spec(kernel: str, device: str = "cpu", **scoring) -> KronosSpec:
    model = ModelSettings(name="kronos-nano", device=device, kernel=kernel)
    return KronosSpec.from_settings(model, ScoringSettings(horizons=[5], **scoring))


def test_the_one_asked_for_is_taken_and_is_part_of_the_fingerprint():
    machine.remember_kernel("onednn")
    remembered, asked = spec("auto"), spec("stock")
    assert (remembered.kernel, asked.kernel) == ("onednn", "stock")
    differing = {k for k, v in asked.identity().items() if remembered.identity()[k] != v}
    assert differing == {"kernel"}
    assert spec("onednn").identity() == remembered.identity()


def test_it_needs_no_probe(monkeypatch):
    def probe():
        raise AssertionError("probed")

    monkeypatch.setattr(kernels, "speed_ratios", probe)
    assert spec("stock").kernel == "stock"


def test_one_that_does_not_work_here_is_refused_but_not_for_other_machines(monkeypatch):
    caches = (native.load_library, kernels.native_fault)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    for each in caches:
        each.cache_clear()
    try:
        with pytest.raises(UsageError, match=r"model\.kernel: .*there is no C compiler.*'stock'"):
            spec("native")
        assert spec("native", ray_address="head:6379").kernel == "native"
    finally:
        for each in caches:
            each.cache_clear()


def test_kernels_of_the_cpu_are_refused_on_a_gpu():
    with pytest.raises(UsageError, match=r"model\.kernel: .*it is for the CPU"):
        spec("native", "cuda", gpus_per_actor=1, ray_address="head:6379")
    assert spec("stock", "cuda", gpus_per_actor=1, ray_address="head:6379").kernel == "stock"
