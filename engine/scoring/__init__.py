"""Scoring: windows of bars to forecasts, shard by shard, on Ray actors."""
