"""Benchmarks and stand-ins that need a checkout: they are no part of the wheel."""
