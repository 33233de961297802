"""The main job: bars to a verdict, `python -m engine.backtest`."""
