"""Whether scores look like forecasts at all: their range, dispersion and signs.

A model with a wrong tokenizer, mixed-up columns or dead weights still gives numbers. These checks
need a handful of dates, no labels and no future.
"""

from __future__ import annotations

from typing import Any, Protocol

import polars as pl

__all__ = ["SanityRules", "check_scores"]

ROUNDING = 1e-12


class SanityRules(Protocol):
    """The settings of `evaluation.sanity`."""

    @property
    def max_move(self) -> float: ...
    @property
    def min_dispersion(self) -> float: ...
    @property
    def max_one_sign(self) -> float: ...


def check_scores(scores: pl.DataFrame, rules: SanityRules) -> dict[str, Any]:
    """`passed`, and per horizon what was measured and what is wrong with it.

    Per horizon h, over the scores with status ok:

    - range: every score is above −1 and at most max_move · √h in size.
    - dispersion: the standard deviation across tickers, median over dates, is at least
      min_dispersion, and no date has one score, but for rounding, for all its tickers.
    - sign: at most max_one_sign of the scores are positive, and as many negative.

    Dates with a single ticker have no dispersion. JSON-ready; no scores is no pass.
    """
    good = scores.filter(pl.col("status") == "ok")
    horizons = {
        str(horizon): _horizon(good.filter(pl.col("horizon") == horizon), int(horizon), rules)
        for horizon in scores["horizon"].unique().sort()
    }
    passed = bool(horizons) and not any(found["warnings"] for found in horizons.values())
    return {"passed": passed, "horizons": horizons}


def _horizon(scores: pl.DataFrame, horizon: int, rules: SanityRules) -> dict[str, Any]:
    if scores.is_empty():
        return {"n_scores": 0, "warnings": ["no score at all"]}
    score = scores["score"]
    limit = rules.max_move * horizon**0.5
    lowest, highest = float(score.min()), float(score.max())  # type: ignore[arg-type]
    score_of = pl.col("score")
    dates = scores.group_by("asof").agg(
        std=score_of.std(),
        # A forecast of "no change" is a quotient of prices: it is 0 but for their rounding.
        equal=score_of.max() - score_of.min() <= ROUNDING * score_of.abs().max().clip(1.0),
    )
    spread = dates["std"].drop_nulls()
    constant = int(dates.drop_nulls("std")["equal"].sum())
    dispersion = None if spread.is_empty() else float(spread.median())  # type: ignore[arg-type]
    positive, negative = float((score > 0).mean()), float((score < 0).mean())  # type: ignore[arg-type]
    warnings = []
    if lowest <= -1 or max(-lowest, highest) > limit:
        warnings.append(
            f"range: scores from {lowest:+.3f} to {highest:+.3f}; "
            f"below {max(-limit, -1):+.2f} or above {limit:+.2f} is not believable"
        )
    if constant:
        warnings.append(
            f"dispersion: {constant} of {len(spread)} dates give every ticker one score"
        )
    elif dispersion is not None and dispersion < rules.min_dispersion:
        warnings.append(
            f"dispersion: scores of one date differ by {dispersion:.1e} only "
            f"(at least {rules.min_dispersion:.0e} expected)"
        )
    for name, share in (("positive", positive), ("negative", negative)):
        if share > rules.max_one_sign:
            warnings.append(f"sign: {share:.1%} of the scores are {name}")
    return {
        "n_scores": scores.height,
        "lowest": lowest,
        "highest": highest,
        "dispersion": dispersion,
        "constant_dates": constant,
        "positive_share": positive,
        "negative_share": negative,
        "warnings": warnings,
    }
