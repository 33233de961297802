"""Everything of a run that can be wrong before a worker starts: bars, spans, networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from engine.data.market import Market, load_market
from engine.errors import UsageError
from engine.train.networks import Networks, find_networks
from engine.train.settings import TrainSettings
from engine.train.spans import Split, bar_arrays, cut_windows, split_bars

if TYPE_CHECKING:
    from kronos.training import TrainingBars

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """Bars, spans and networks of a run, all checked."""

    market: Market
    bars: TrainingBars
    split: Split
    networks: Networks


def prepare(settings: TrainSettings) -> Prepared:
    """Raises UsageError for bad input, before any worker starts."""
    networks = find_networks(settings)
    market = load_market(settings.data)
    bars = bar_arrays(market.bars)
    length = settings.windows.length
    split = split_bars(bars, settings.split, gap=length)
    last = (split.test or split.validation).last
    # Nothing later is needed, so nothing later is there to leak.
    bars = bar_arrays(_until(market.bars, last))
    _check_windows(bars, split, settings)
    return Prepared(market, bars, split, networks)


def _until(bars: pl.DataFrame, last: Any) -> pl.DataFrame:
    moment = last.astype("datetime64[us]").item()
    if "ts" in bars.columns:
        return bars.filter(pl.col("ts").dt.replace_time_zone(None) <= moment)
    return bars.filter(pl.col("date") <= moment.date())


def _check_windows(bars: TrainingBars, split: Split, settings: TrainSettings) -> None:
    """Every span has a window, before any worker starts."""
    from kronos.training import WindowRules, validation_batches

    rules = WindowRules(**settings.windows.arguments())
    try:
        cut_windows(bars, rules, split.training)
        held = cut_windows(
            bars, rules, split.validation, after=split.training.last, name="validation"
        )
        validation_batches(held, rules, 1)
    except ValueError as error:
        raise UsageError(f"windows.length: {error}") from None
