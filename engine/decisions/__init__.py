"""From a market to scores and target weights: the one wiring that every command calls."""
