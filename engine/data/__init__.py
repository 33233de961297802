"""Bars: where they come from, which rows are good, and the market a run sees."""

from __future__ import annotations

from engine.data.market import Market, load_market

__all__ = ["Market", "load_market"]
