"""YAML as every file of ours is read: no key twice, and only true and false are switches."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from engine.errors import UsageError

__all__ = ["parse_yaml", "read_yaml"]

_BOOL = "tag:yaml.org,2002:bool"


def read_yaml(path: Path) -> Any:
    """What a YAML file holds.

    Raises
    ------
    UsageError
        It cannot be read, is no YAML, or gives a key twice; the message names file, key and lines.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable YAML file: {error}") from None


def parse_yaml(text: str) -> Any:
    """What YAML text means. Raises ValueError saying, in one line, what is wrong with it."""
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except yaml.MarkedYAMLError as error:
        # Its own text quotes the line, which may hold a secret.
        mark = error.problem_mark or error.context_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise ValueError(f"{said}{place}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(" ".join(str(error).split())) from None


class _Loader(yaml.SafeLoader):
    """ON and NO are tickers, not switches; of a key given twice the first would be lost."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        # Checked as it is written: a key that is merged in (<<) may well be given anew.
        node = super().compose_mapping_node(anchor)
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            name, line = self.construct_object(key), key.start_mark.line + 1
            if name in lines:
                raise yaml.YAMLError(
                    f"key '{key.value}' is given twice, in lines {lines[name]} and {line}; keep one"
                )
            lines[name] = line
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
