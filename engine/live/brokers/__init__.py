"""Brokers behind one interface: paper and Alpaca."""
