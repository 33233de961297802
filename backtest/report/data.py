"""What the report is drawn from: the judged numbers and the frames behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from ..gates.rules import GateRules
from .formatting import is_number

__all__ = ["FRAME_SCHEMAS", "ReportData"]

FRAME_SCHEMAS: dict[str, dict[str, pl.DataType]] = {
    "ic": {
        "asof": pl.Date(),
        "horizon": pl.Int32(),
        "n": pl.Int64(),
        "rank_ic": pl.Float64(),
        "rank_ic_next_open": pl.Float64(),
        "in_training": pl.Boolean(),
    },
    "returns": {
        "date": pl.Date(),
        "gross": pl.Float64(),
        "net": pl.Float64(),
        "benchmark": pl.Float64(),
        "turnover": pl.Float64(),
        "in_training": pl.Boolean(),
    },
    "churn": {
        "asof": pl.Date(),
        "horizon": pl.Int32(),
        "churn": pl.Float64(),
        "in_training": pl.Boolean(),
    },
    "net_excess": {
        "asof": pl.Date(),
        "horizon": pl.Int32(),
        "fold": pl.String(),
        "excess": pl.Float64(),
        "cost": pl.Float64(),
        "net_excess": pl.Float64(),
        "in_training": pl.Boolean(),
    },
    "quantiles": {
        "horizon": pl.Int32(),
        "quantile": pl.Int32(),
        "mean_label": pl.Float64(),
        "n": pl.Int64(),
        "in_training": pl.Boolean(),
    },
    "attribution": {
        "date": pl.Date(),
        "long": pl.Float64(),
        "short": pl.Float64(),
        "cost": pl.Float64(),
        "long_exposure": pl.Float64(),
        "short_exposure": pl.Float64(),
        "turnover": pl.Float64(),
        "beta": pl.Float64(),
    },
    "weights": {"asof": pl.Date(), "ticker": pl.String(), "weight": pl.Float64()},
    "quarantine": {
        "ticker": pl.String(),
        "date": pl.Date(),
        "rule": pl.String(),
        "message": pl.String(),
        "source": pl.String(),
    },
}


def _empty(name: str) -> pl.DataFrame:
    return pl.DataFrame(schema=FRAME_SCHEMAS[name])


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
    ic: pl.DataFrame = field(default_factory=lambda: _empty("ic"))
    returns: pl.DataFrame = field(default_factory=lambda: _empty("returns"))
    churn: pl.DataFrame = field(default_factory=lambda: _empty("churn"))
    net_excess: pl.DataFrame = field(default_factory=lambda: _empty("net_excess"))
    quantiles: pl.DataFrame = field(default_factory=lambda: _empty("quantiles"))
    attribution: pl.DataFrame = field(default_factory=lambda: _empty("attribution"))
    weights: pl.DataFrame = field(default_factory=lambda: _empty("weights"))
    quarantine: pl.DataFrame = field(default_factory=lambda: _empty("quarantine"))

    def __post_init__(self) -> None:
        for name, schema in FRAME_SCHEMAS.items():
            frame: pl.DataFrame = getattr(self, name)
            missing = [column for column in schema if column not in frame.columns]
            if missing and frame.is_empty():
                object.__setattr__(self, name, _empty(name))
            elif missing:
                raise ValueError(
                    f"report frame '{name}' lacks column(s) {', '.join(missing)}; "
                    f"it needs {', '.join(schema)}"
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
