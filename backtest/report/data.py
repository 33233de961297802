"""What the report is drawn from: the judged numbers and the frames behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ..gates.rules import GateRules
from .formatting import is_number

__all__ = ["ReportData"]

FRAMES = {
    "ic": "asof horizon n rank_ic rank_ic_next_open in_training",
    "returns": "date gross net benchmark turnover in_training",
    "churn": "asof horizon churn in_training",
    "net_excess": "asof horizon fold excess cost net_excess in_training",
    "quantiles": "horizon quantile mean_label n in_training",
    "attribution": "date long short cost long_exposure short_exposure turnover beta",
    "weights": "asof ticker weight",
    "quarantine": "ticker date rule message source",
}
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("asof", "date"), pl.Date),
    **dict.fromkeys(("horizon", "quantile"), pl.Int32),
    **dict.fromkeys(("ticker", "fold", "rule", "message", "source"), pl.String),
    **{"n": pl.Int64, "in_training": pl.Boolean},
}
"""Those of columns that hold no decimal number."""


@dataclass(frozen=True)
class ReportData:
    """Everything a report shows. The four dictionaries are the run folder's own files.

    Parameters
    ----------
    metrics, gates, manifest, config
        Contents of ``metrics.json``, ``gates.json``, ``manifest.json`` and of the resolved
        configuration. Any number may be ``None``; any key may be absent.
    rules
        The gate rules of the run: every text that names one of their numbers is made from them.
    ic
        ``asof, horizon, n, rank_ic, rank_ic_next_open, in_training``; a date with constant
        scores has a null ``rank_ic``.
    returns
        ``date, gross, net, benchmark, turnover, in_training``: daily simple returns;
        ``benchmark`` may be null.
    churn
        ``asof, horizon, churn, in_training``; null at the first rebalance.
    net_excess
        ``asof, horizon, fold, excess, cost, net_excess, in_training``: per period of the horizon.
    quantiles
        ``horizon, quantile, mean_label, n, in_training``; quantile 1 holds the lowest scores.
    attribution
        ``date, long, short, cost, long_exposure, short_exposure, turnover, beta``: profit of each
        leg and all costs as shares of the starting capital, and the book at each session.
    weights
        ``asof, ticker, weight``: target weights at rebalance dates.
    quarantine
        ``ticker, date, rule, message, source``: bars removed before anything was computed.

    Raises
    ------
    ValueError
        A frame with rows lacks a column.
    """

    metrics: dict[str, Any]
    gates: dict[str, Any]
    manifest: dict[str, Any]
    config: dict[str, Any]
    rules: GateRules
    ic: pl.DataFrame = field(default_factory=pl.DataFrame)
    returns: pl.DataFrame = field(default_factory=pl.DataFrame)
    churn: pl.DataFrame = field(default_factory=pl.DataFrame)
    net_excess: pl.DataFrame = field(default_factory=pl.DataFrame)
    quantiles: pl.DataFrame = field(default_factory=pl.DataFrame)
    attribution: pl.DataFrame = field(default_factory=pl.DataFrame)
    weights: pl.DataFrame = field(default_factory=pl.DataFrame)
    quarantine: pl.DataFrame = field(default_factory=pl.DataFrame)

    def __post_init__(self) -> None:
        for name, columns in FRAMES.items():
            frame, needed = getattr(self, name), columns.split()
            missing = [column for column in needed if column not in frame.columns]
            if missing and frame.is_empty():
                schema = {column: _TYPES.get(column, pl.Float64) for column in needed}
                object.__setattr__(self, name, pl.DataFrame(schema=schema))
            elif missing:
                raise ValueError(
                    f"report frame '{name}' lacks column(s) {', '.join(missing)}; "
                    f"it needs {', '.join(needed)}"
                )

    @property
    def run(self) -> dict[str, Any]:
        """The ``run`` block of ``metrics.json``."""
        return self.metrics.get("run") or {}

    @property
    def horizons(self) -> list[int]:
        """Horizons with metrics, shortest first, in or out of the model's training period."""
        training = (self.metrics.get("in_training") or {}).get("horizons") or {}
        return sorted(
            {int(h) for h in (self.metrics.get("horizons") or {})} | set(map(int, training))
        )

    def horizon(self, horizon: int, *, in_training: bool = False) -> dict[str, Any]:
        """The metrics of one horizon, on the judged dates or on those of the training period."""
        block = (self.metrics.get("in_training") or {}) if in_training else self.metrics
        return (block.get("horizons") or {}).get(str(horizon)) or {}

    def period(self, frame: str, *, in_training: bool = False) -> pl.DataFrame:
        """The rows of a frame before or after the end of training; no flag counts as after."""
        inside = pl.col("in_training").fill_null(False)
        return getattr(self, frame).filter(inside == in_training)

    @property
    def judged_dates(self) -> int:
        """Out-of-sample dates judged at the horizon that has most of them."""
        return max((self.horizon(h).get("n_dates") or 0 for h in self.horizons), default=0)

    def threshold(self, gate: str, word: str) -> float | None:
        """The threshold of the first condition of `gate` whose name contains `word`, if any.

        A condition made of others ("on at least 2 horizons") is passed over: its threshold is a
        count.
        """
        gates = [g for g in self.gates.get("gates") or [] if g.get("name") == gate]
        conditions = [c for g in gates for c in g.get("conditions") or []]
        wholes = {condition.get("part_of") for condition in conditions}
        for condition in conditions:
            name, threshold = str(condition.get("name", "")), condition.get("threshold")
            if name not in wholes and word in name.lower() and is_number(threshold):
                return float(threshold)
        return None
