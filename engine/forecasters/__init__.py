"""Which forecaster a model name means, and how each turns windows into forecasts."""
