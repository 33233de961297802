"""Checkpoints: found, fetched, described and read."""
