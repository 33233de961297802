"""The command lines of `engine.data`: files, settings and options."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.config import Settings, load_settings, read_flags
from engine.config.load import read_environment, read_file

__all__ = ["DEFAULT_STORE", "Arguments", "parse_arguments"]

DEFAULT_STORE = Path("prices.duckdb")


@dataclass(frozen=True)
class Arguments:
    """A command line, taken apart.

    Attributes
    ----------
    files
        The arguments that are no flag.
    settings
        The whole tree.
    options
        The command's own flags.
    given
        Keys that a flag, the environment or a named configuration file sets.
    """

    files: list[Path]
    settings: Settings
    options: dict[str, str | bool]
    given: set[str]

    @property
    def store(self) -> Path:
        """`data.store`, or the default in the working folder."""
        return self.settings.data.store or DEFAULT_STORE


def parse_arguments(argv: Sequence[str], options: Mapping[str, bool]) -> Arguments:
    """Files, settings and options of a command line; raises UsageError as `read_flags` does.

    `options` names the command's own flags and whether each takes a value.
    """
    files: list[Path] = []
    flags: list[str] = []
    tokens = list(argv)
    while tokens:
        token = tokens.pop(0)
        if not token.startswith("--"):
            files.append(Path(token))
            continue
        flags.append(token)
        takes_value = options.get(token[2:], True)
        if takes_value and "=" not in token and tokens and not tokens[0].startswith("--"):
            flags.append(tokens.pop(0))
    settings, chosen = read_flags(flags, {"config": True, "help": False, **options})
    config = chosen.get("config")
    loaded = load_settings(settings, config=None if config is None else str(config))
    given = {*settings, *_environment(), *(read_file(Path(str(config))) if config else ())}
    return Arguments(files, loaded, chosen, given)


def _environment() -> set[str]:
    return set(read_environment(os.environ))
