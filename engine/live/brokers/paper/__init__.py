"""A paper account that this engine keeps itself."""
