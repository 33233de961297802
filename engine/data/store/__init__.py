"""The price store: one DuckDB file that one process writes, and Parquet exports for readers."""

from engine.data.store.panel import Panel
from engine.data.store.reader import PriceStore, Window

__all__ = ["Panel", "PriceStore", "Window"]
