"""Benchmarks: each module here or in `private` that has ``SUMMARY`` and ``run`` is one."""
