"""The price store: one DuckDB file that one process writes, and Parquet exports for readers."""

from engine.data.store.reader import PriceStore

__all__ = ["PriceStore"]
