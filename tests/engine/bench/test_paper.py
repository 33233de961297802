"""Benchmarks that compute: their arithmetic against figures known otherwise."""

from __future__ import annotations

import pytest

from engine.bench import plan, scaling


def test_arithmetic_of_a_window_is_that_of_the_measured_case():
    """98 windows × 90 steps of Kronos-small were counted at 1.80 TFLOP."""
    assert 98 * scaling.flops("small", 252, 90) == pytest.approx(1.80e12, rel=0.05)


def test_arithmetic_grows_as_it_must(monkeypatch):
    monkeypatch.setattr(scaling, "TOKENIZER_FLOPS", 0)
    work = {model: scaling.flops(model, 252, 90) for model in scaling.MODELS}
    parameters = {"mini": 4.108, "small": 24.741, "base": 102.311}
    for model, millions in parameters.items():
        # Two operations a parameter and token, less the embedding tables, plus attention.
        assert work[model] == pytest.approx(2e6 * millions * 341, rel=0.35)
    one_more = scaling.flops("small", 252, 91) - work["small"]
    assert one_more == pytest.approx(work["small"] / 341, rel=0.25)


def test_windows_of_the_studies():
    counts = {study.name: study.windows for study in scaling.STUDIES}
    assert list(counts.values()) == [98 * 2520, 5000 * 2520, 5000 * 252]


def test_planning_is_measured_step_by_step():
    result = plan.run(["--tickers", "5", "--dates", "8", "--lookback", "16"])
    assert [row[0] for row in result.rows][1:3] == ["price array", "plan"]
    assert all(row[3] >= row[2] > 0 for row in result.rows)
    assert "40 windows of 16 bars" in result.notes[0]
