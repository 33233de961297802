"""Signals: what the backtest's own functions say about one session, while its future is unknown."""
