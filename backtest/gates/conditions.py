"""One figure against one threshold, and how conditions combine.

A condition passes when its 95% interval lies wholly on the good side of the threshold, fails when
wholly on the bad side, and is inconclusive otherwise or when it cannot be computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

__all__ = [
    "FAIL",
    "INCONCLUSIVE",
    "PASS",
    "Condition",
    "Verdict",
    "above",
    "at_least",
    "below_in_size",
    "combine",
    "no_regime_below_zero",
    "per_horizon",
    "point",
    "undecided",
]

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
PASS: Verdict = "PASS"
FAIL: Verdict = "FAIL"
INCONCLUSIVE: Verdict = "INCONCLUSIVE"

Interval = list[float] | None

# A share such as 3 of 10 must equal the 0.3 it is compared with.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Condition:
    """A judged condition.

    ``part_of`` names the condition that this one only contributes to; ``reasons`` are sentences.
    """

    name: str
    verdict: Verdict
    value: float | None
    ci95: Interval
    threshold: float | None
    reasons: tuple[str, ...]
    part_of: str | None = None

    def adding(self, reason: str | None) -> Condition:
        """The same with one more reason, if there is one."""
        return replace(self, reasons=(*self.reasons, reason)) if reason else self

    def to_json(self) -> dict[str, Any]:
        """The entry of ``gates.json``."""
        return {key: value for key, value in asdict(self).items() if key != "reasons"}


def combine(conditions: Sequence[Condition]) -> Verdict:
    """FAIL if any condition fails, else INCONCLUSIVE if any is, else PASS. Parts do not count."""
    verdicts = {item.verdict for item in conditions if item.part_of is None}
    if FAIL in verdicts:
        return FAIL
    return INCONCLUSIVE if INCONCLUSIVE in verdicts or not verdicts else PASS


def undecided(name: str, reason: str, *, threshold: float | None = None) -> Condition:
    """A condition that cannot be decided, with the reason."""
    return Condition(name, INCONCLUSIVE, None, None, threshold, (reason,))


def above(
    name: str,
    value: float | None,
    interval: Interval,
    *,
    threshold: float,
    what: str,
    strict: bool = False,
    missing: str | None = None,
) -> Condition:
    """value ≥ threshold by its interval; ``strict`` asks for value > threshold.

    ``missing`` says why nothing is decided.
    """
    if missing or value is None or interval is None:
        return undecided(name, missing or f"{what} has no interval.", threshold=threshold)
    low, high = interval
    if low > threshold or (low == threshold and not strict):
        verdict, side = PASS, "wholly above"
    elif high < threshold or (high == threshold and strict):
        verdict, side = FAIL, "wholly below"
    else:
        verdict, side = INCONCLUSIVE, "around"
    sentence = f"{what} is {_with_interval(value, interval)}, {side} the threshold {threshold:g}."
    return Condition(name, verdict, value, interval, threshold, (sentence,))


def below_in_size(
    name: str,
    value: float | None,
    interval: Interval,
    *,
    threshold: float,
    what: str,
    missing: str | None = None,
) -> Condition:
    """|value| < threshold by its interval; ``missing`` says why nothing is decided."""
    if missing or value is None or interval is None:
        return undecided(name, missing or f"{what} is not known.", threshold=threshold)
    low, high = interval
    if -threshold < low and high < threshold:
        verdict, side = PASS, "wholly inside"
    elif low >= threshold or high <= -threshold:
        verdict, side = FAIL, "wholly outside"
    else:
        verdict, side = INCONCLUSIVE, "across the border of"
    sentence = f"{what} is {_with_interval(value, interval)}, {side} ±{threshold:g}."
    return Condition(name, verdict, value, interval, threshold, (sentence,))


def point(
    name: str,
    value: float | None,
    *,
    threshold: float,
    at_most: bool,
    what: str,
    missing: str | None = None,
) -> Condition:
    """value ≤ threshold (``at_most``) or value ≥ threshold, as a number without an interval.

    ``missing`` says why nothing is decided.
    """
    if missing or value is None:
        return undecided(name, missing or f"{what} is not known.", threshold=threshold)
    beyond = value - threshold if at_most else threshold - value
    good = beyond <= _ROUNDING
    rule = "at most" if at_most else "at least"
    sentence = f"{what} is {value:.3f}; {rule} {threshold:g} is asked for."
    return Condition(name, PASS if good else FAIL, value, None, threshold, (sentence,))


def at_least(k: int, parts: Sequence[Condition], *, what: str) -> list[Condition]:
    """The condition "at least k of the parts pass", followed by the parts.

    PASS if k pass; FAIL if fewer than k are not FAIL (so also with fewer than k parts); else
    INCONCLUSIVE.
    """
    noun = "horizon" if k == 1 else "horizons"
    name = f"{what} on at least {k} {noun}"
    passed = sum(part.verdict == PASS for part in parts)
    possible = sum(part.verdict != FAIL for part in parts)
    sentence = f"{what} passes on {passed} of {len(parts)} horizons; {k} must."
    if passed >= k:
        verdict = PASS
    else:
        verdict = FAIL if possible < k else INCONCLUSIVE
    if len(parts) < k:
        sentence = f"{what} must pass on {k} horizons and the run has {len(parts)}."
    whole = Condition(name, verdict, float(passed), None, float(k), (sentence,))
    return [whole, *(replace(part, part_of=name) for part in parts)]


def no_regime_below_zero(rows: Sequence[dict[str, Any]]) -> Condition:
    """No judged regime slice has an interval wholly below 0; one that contains 0 does not count.

    Takes rows of ``metrics["regimes"]``. Thin slices are not judged; where all are thin, nothing
    counts against the score.
    """
    name = "no regime with RankIC wholly below 0"
    judged = [row for row in rows if not row["thin"] and row["ci95"] is not None]
    if not judged:
        sentence = "No regime has enough dates and names to be judged, so none counts against it."
        return Condition(name, PASS, None, None, 0.0, (sentence,))
    lost = [row for row in judged if row["ci95"][1] < 0]
    if not lost:
        sentence = f"None of {len(judged)} judged regime slices has an interval wholly below 0."
        return Condition(name, PASS, 0.0, None, 0.0, (sentence,))
    reasons = tuple(
        f"RankIC at {row['horizon']} sessions in the {row['regime']} {row['kind']} regime is"
        f" {_with_interval(row['rank_ic_mean'], row['ci95'])}, wholly below 0."
        for row in lost
    )
    return Condition(name, FAIL, float(len(lost)), None, 0.0, reasons)


def per_horizon(horizons: dict[str, Any], *names: str) -> dict[str, Any]:
    """Figure → horizon → value, as ``gates.json`` shows what decided."""
    return {name: {key: figures[name] for key, figures in horizons.items()} for name in names}


def _with_interval(value: float, interval: list[float]) -> str:
    return f"{value:.4f} (95% interval {interval[0]:.4f} to {interval[1]:.4f})"
