"""How a verdict forms: the truth table."""

from __future__ import annotations

import pytest

from backtest.gates.conditions import (
    Condition,
    above,
    at_least,
    below_in_size,
    combine,
    no_regime_below_zero,
    point,
)


def having(verdict: str) -> Condition:
    return Condition("x", verdict, 0.0, None, 0.0, ("because",))


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ([0.021, 0.05], "PASS"),
        ([0.02, 0.05], "PASS"),
        ([0.01, 0.03], "INCONCLUSIVE"),
        ([-0.05, 0.02], "INCONCLUSIVE"),
        ([-0.05, 0.019], "FAIL"),
        (None, "INCONCLUSIVE"),
    ],
)
def test_at_or_above_a_threshold(interval, verdict):
    assert above("x", 0.02, interval, threshold=0.02, what="X").verdict == verdict


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [([0.0, 0.1], "INCONCLUSIVE"), ([0.01, 0.1], "PASS"), ([-0.1, 0.0], "FAIL")],
)
def test_strictly_above_a_threshold(interval, verdict):
    assert above("x", 0.0, interval, threshold=0.0, what="X", strict=True).verdict == verdict


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ([-0.4, 0.49], "PASS"),
        ([0.2, 0.6], "INCONCLUSIVE"),
        ([-0.9, 0.9], "INCONCLUSIVE"),
        ([0.5, 0.9], "FAIL"),
        ([-0.9, -0.5], "FAIL"),
        (None, "INCONCLUSIVE"),
    ],
)
def test_size_below_a_threshold(interval, verdict):
    assert below_in_size("x", 0.1, interval, threshold=0.5, what="X").verdict == verdict


@pytest.mark.parametrize(
    ("value", "at_most", "verdict"),
    [
        (0.30, True, "PASS"),
        (0.31, True, "FAIL"),
        (1 - 7 / 10, True, "PASS"),
        (0.30, False, "PASS"),
        (0.29, False, "FAIL"),
        (None, True, "INCONCLUSIVE"),
    ],
)
def test_point_values(value, at_most, verdict):
    assert point("x", value, threshold=0.3, at_most=at_most, what="X").verdict == verdict


P, F, U = "PASS", "FAIL", "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("k", "parts", "verdict"),
    [
        (2, [P, P, F], P),
        (2, [P, U, F], U),
        (2, [P, F, F], F),
        (2, [U, U, U], U),
        (2, [U, F, F], F),
        (1, [F, F, F], F),
        (1, [F, F, U], U),
        (1, [P, F, F], P),
        # fewer horizons than are asked for cannot meet the condition
        (2, [P], F),
        (2, [F], F),
    ],
)
def test_at_least_k(k, parts, verdict):
    whole, *rest = at_least(k, [having(part) for part in parts], what="X")
    assert whole.verdict == verdict
    assert [part.verdict for part in rest] == parts
    assert all(part.part_of == whole.name for part in rest)


@pytest.mark.parametrize(
    ("conditions", "verdict"),
    [([P, P], P), ([P, U], U), ([P, F], F), ([U, F], F), ([U], U), ([], U)],
)
def test_gate_fails_first_then_is_inconclusive(conditions, verdict):
    assert combine([having(item) for item in conditions]) == verdict


def test_parts_decide_only_through_their_whole():
    assert combine(at_least(1, [having(P), having(F)], what="X")) == P


def regime(low: float, high: float, *, thin: bool = False) -> dict:
    return {
        "kind": "trend",
        "regime": "bear",
        "horizon": 20,
        "rank_ic_mean": (low + high) / 2,
        "ci95": [low, high],
        "thin": thin,
    }


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([regime(-0.1, 0.1), regime(0.1, 0.2)], P),
        ([regime(-0.1, 0.1), regime(-0.2, -0.01)], F),
        ([regime(-0.1, 0.1), regime(-0.2, -0.01, thin=True)], P),
        ([regime(-0.2, -0.01, thin=True)], P),
        ([], P),
    ],
)
def test_regimes(rows, verdict):
    assert no_regime_below_zero(rows).verdict == verdict
