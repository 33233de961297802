"""Configuration: one tree of settings from flags, environment, file and defaults."""

from engine.config.load import find_config, load_settings, read_flags
from engine.config.settings import Settings

__all__ = ["Settings", "find_config", "load_settings", "read_flags"]
