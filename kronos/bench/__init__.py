"""Benchmarks of inference: ``python -m kronos.bench`` and ``python -m kronos.bench compile``."""
