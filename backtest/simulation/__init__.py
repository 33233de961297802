"""A portfolio of target weights, traded: orders, fills, daily books, attribution."""
