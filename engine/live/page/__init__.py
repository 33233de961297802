"""The page of the day: what was forecast and what happened."""
