"""The definitions behind the numbers shown; those of the gates follow the rules of the run."""

from __future__ import annotations

from ..gates.rules import GateRules

__all__ = ["gate_sentences", "glossary", "sample_sentence"]


def gate_sentences(rules: GateRules) -> dict[str, str]:
    """What each gate asks for, by its name, with the numbers of the rules."""
    factor, ml, practical = rules.factor, rules.ml, rules.practical
    return {
        "factor": f"Mean RankIC at least {factor.rank_ic:g} on at least "
        f"{_horizons(factor.horizons)}, and |redundancy| below {factor.redundancy:g}.",
        "ml": f"On at least {_horizons(ml.horizons)}, mean RankIC at least min({ml.rank_ic:g}, "
        f"max({ml.floor:g}, LightGBM − {ml.baseline_gap:g})), the baseline trained in the same "
        "run under the same folds, purge and embargo. Judged is the paired difference on the "
        "same dates.",
        "practical": "On the longer half of the horizons, median churn at most "
        f"{practical.churn:g}, cost survival at least {100 * practical.cost_survival:g}% and mean "
        f"net excess above {practical.net_excess:g}; and no judged regime whose interval lies "
        "wholly below 0.",
    }


def sample_sentence(rules: GateRules) -> str:
    """How much data a verdict takes."""
    return (
        f"With fewer than {rules.sample.names} names or {rules.sample.dates} judged dates "
        "everything is INCONCLUSIVE."
    )


def _horizons(count: int) -> str:
    return f"{count} horizon{'s' * (count > 1)}"


def glossary(rules: GateRules) -> list[tuple[str, str]]:
    """Terms and their definitions, in the order in which they are listed."""
    asked = gate_sentences(rules)
    return [
        *_FIGURES,
        (
            "Regimes",
            "Volatility: 252-session percentile of the volatility index, or else of the "
            "benchmark's 20-session realised volatility: low ≤ 33 < mid ≤ 67 < high. Trend: "
            "20-session benchmark return > 0 bull, else bear. Without a benchmark, the "
            "equal-weight return of the universe. Slices with fewer than "
            f"{rules.regimes.min_dates} dates or {rules.regimes.min_names} names are thin and "
            "not judged.",
        ),
        *_BESIDE,
        ("Factor gate", asked["factor"]),
        ("ML gate", asked["ml"]),
        ("Practical gate", asked["practical"]),
        (
            "Verdict",
            "A condition is PASS when its 95% interval lies wholly on the good side, FAIL when "
            "wholly on the bad side, else INCONCLUSIVE (churn and cost survival: by value). A "
            "gate is FAIL if any condition is, else INCONCLUSIVE if any is, else PASS. "
            f"{sample_sentence(rules)}",
        ),
    ]


_FIGURES = (
    (
        "Notation",
        "t is a session, h a horizon in sessions, P the adjusted close, O the open, b the "
        "benchmark.",
    ),
    (
        "Score",
        "terminal: P̂(t+h)/P(t) − 1, mean over paths; path_mean: mean over k = 1..h of P̂(t+k), "
        "divided by P(t), − 1.",
    ),
    (
        "Label",
        "P(t+h)/P(t) − 1 − (b(t+h)/b(t) − 1); without a benchmark, minus the mean of the date. "
        "Mature only after the close of t+h.",
    ),
    (
        "RankIC(t)",
        "Spearman correlation of score and label over the names at t, average ranks for ties, "
        "only with enough names. A date whose scores are all equal has none; it is counted.",
    ),
    (
        "RankIC, mean; t; 95% interval",
        "Mean over all judged dates. n = judged dates, s = median sessions between them. "
        "Newey–West with L = min(n−1, max(⌈1.3√n⌉, 2⌈h/s⌉)) and Student-t quantiles with max(2, "
        "n/(1.5 L)) degrees of freedom (fixed-b; Lazarus, Lewis, Stock and Watson, 2018). The "
        "gates use this interval. The bootstrap interval is stationary, mean block max(2⌈h/s⌉, "
        "optimal).",
    ),
    (
        "RankIC, next open",
        "The same with the label P(t+h)/O(t+1) − 1: what a fill at the next open sees.",
    ),
    (
        "RankIC, median of folds",
        "Median over folds of the fold's median; descriptive.",
    ),
    (
        "ICIR",
        "Mean of RankIC(t) divided by its standard deviation over dates.",
    ),
    (
        "Fold",
        "One calendar month of dates.",
    ),
    (
        "Churn@K",
        "1 − |TopK(t) ∩ TopK(u)| / K with u the previous rebalance; ties by score, then ticker; "
        "K = min(top_k, ⌊n/5⌋), at least 1.",
    ),
    (
        "Turnover",
        "Σ|w(t) − w(t⁻)| / 2 with w(t⁻) the drifted weights.",
    ),
    (
        "Cost of a trade",
        "round_trip_bps/2 + impact_coefficient · √(traded value / ADV20) bps, at most 500; "
        "without ADV the impact part is 100 bps.",
    ),
    (
        "Net excess(t, h)",
        "Mean label of the Top-K − one-way turnover of the Top-K between t and u × round-trip "
        "cost, u the last rebalance at or before t−h (the first: full entry).",
    ),
    (
        "Cost survival",
        "Share of folds whose mean net excess is above 0.",
    ),
    (
        "Break-even cost",
        "The round_trip_bps, impact and borrow as configured, at which mean net excess is 0; "
        "n/a when turnover is 0; a negative value is shown as it is.",
    ),
)
_BESIDE = (
    (
        "Redundancy",
        "Median over dates of the Spearman correlation of score and 12-month momentum.",
    ),
    (
        "Sharpe",
        "Mean over standard deviation of daily returns, × √252 (√365 on a 7-day calendar).",
    ),
    (
        "Deflated Sharpe",
        "Probability that the true Sharpe exceeds the best expected of N worthless trials (Bailey "
        "and López de Prado, 2014). N: distinct (scores, strategy, costs) recorded on overlapping "
        "dates of the same data, a lower bound. Their Sharpes' variance, at least 1/(T − 1).",
    ),
    (
        "Probability of overfitting",
        "Share of the splits of the sessions into two halves in which the trial that is best in "
        "one half is below the median in the other (CSCV, 16 blocks; Bailey, Borwein, López de "
        "Prado and Zhu, 2015), over the recorded trials; none under ten.",
    ),
    (
        "RankIC, free of factors",
        "RankIC of the residual of the score's rank, regressed over each cross-section on the "
        "factors' ranks.",
    ),
    (
        "Hit rate; monotonicity",
        "Share of the Top-K whose label is above 0, mean over dates; Spearman correlation of "
        "quantile number and mean label.",
    ),
    (
        "Decay",
        "Median RankIC of a fold's last third minus that of its first third; folds are months, or "
        "years when dates are rarer than weekly, with at least nine dates. RAPID below −0.05, "
        "NOISY where the interquartile range exceeds twice |median|. Noise: 95th percentile of the "
        "size of the same difference over all stretches of as many dates.",
    ),
    (
        "Capacity",
        "The capital at which mean net excess is 0: each name of the Top-K trades capital/K at the "
        "cost of a trade above. n/a where no capital brings it to 0.",
    ),
    (
        "Cost levels",
        "Net excess with round_trip_bps and impact_coefficient times ½, 1 and 2.",
    ),
    (
        "Execution",
        "Decided at the close of t, filled at the open of t+1.",
    ),
)
