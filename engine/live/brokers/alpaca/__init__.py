"""An account at Alpaca, and its quotes."""
