"""Benchmarks: each module of this package that has ``SUMMARY`` and ``run`` is one."""
