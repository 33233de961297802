"""Names of settings: which keys exist, what text means for each, and the nearest to a typo."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr

from engine.config.settings import Settings, StrategySettings
from engine.errors import UsageError, nearest
from engine.yaml_file import parse_yaml

__all__ = [
    "ENV_PREFIX",
    "describe_settings",
    "from_text",
    "is_known",
    "nearest_key",
    "path_settings",
    "secret_settings",
    "setting_types",
    "variable",
]


ENV_PREFIX = "ENGINE_"


def setting_types(model: type[BaseModel] = Settings, prefix: str = "") -> dict[str, Any]:
    """Dotted name of every setting → its annotated type, in the order of the tree."""
    return dict(_walk(model, prefix))


def path_settings(model: type[BaseModel] = Settings) -> frozenset[str]:
    """Dotted names of the settings that are paths."""
    kinds = setting_types(model)
    return frozenset(key for key, kind in kinds.items() if Path in _alternatives(kind))


def secret_settings(model: type[BaseModel] = Settings) -> frozenset[str]:
    """Dotted names of the settings whose values are never shown."""
    kinds = setting_types(model)
    return frozenset(key for key, kind in kinds.items() if SecretStr in _alternatives(kind))


def _walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _walk(annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", annotation


def is_known(key: str, model: type[BaseModel] = Settings) -> bool:
    """Whether `key` is a setting; parameters of a strategy are left to the strategy."""
    head, _, rest = key.partition(".")
    section = model.model_fields.get(head)
    if section is not None and section.annotation is StrategySettings:
        return bool(rest) and "." not in rest
    return key in setting_types(model)


def nearest_key(key: str, names: Iterable[str] | None = None) -> str | None:
    """The known name most like `key`, by spelling; a right last part in a wrong section wins."""
    known = list(setting_types() if names is None else names)
    leaf = key.rsplit(".", 1)[-1]
    same_leaf = [name for name in known if name.rsplit(".", 1)[-1] == leaf]
    return nearest(key, same_leaf or known)


def from_text(key: str, text: str, model: type[BaseModel] = Settings) -> Any:
    """A value as written in a flag or the environment, read by the type of its setting.

    `null` means none. Lists are `a,b,c` or `[a, b, c]`. Text settings are taken as they stand,
    so a ticker named ON or 1E5 stays a ticker.
    """
    if text.strip().lower() in {"null", "none"}:
        return None
    annotation = setting_types(model).get(key)
    # A strategy's own parameter is typed by the strategy.
    if annotation is None or typing.get_origin(annotation) is dict:
        try:
            return parse_yaml(text)
        except ValueError as error:
            raise UsageError(f"{key}: {text!r} is not a value ({error})") from None
    kinds = _alternatives(annotation)
    items = next((typing.get_args(k)[0] for k in kinds if typing.get_origin(k) is list), None)
    if items is not None:
        body = text.strip().removeprefix("[").removesuffix("]")
        parts = [part.strip().strip("'\"") for part in body.split(",")]
        return [part for part in parts if part]
    return text


def variable(key: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + key.upper().replace(".", "__")


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _alternatives(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(a for arg in typing.get_args(annotation) for a in _alternatives(arg))
    return (annotation,)


def describe_settings(model: type[BaseModel] = Settings, prefix: str = "") -> list[str]:
    """One line a setting: flag, type, default."""
    lines = []
    for name, field in model.model_fields.items():
        annotation, default = field.annotation, field.default
        if isinstance(annotation, type) and issubclass(annotation, StrategySettings):
            lines.append(f"--{prefix}{name}.name text (default: {default.name})")
            lines.append(f"--{prefix}{name}.grid {{PARAMETER: [VALUE, …]}} (default: none)")
            lines.append(f"--{prefix}{name}.since date|null (default: null)")
            lines.append(f"--{prefix}{name}.PARAMETER value of the strategy's own")
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
            lines += describe_settings(annotation, f"{prefix}{name}.")
        else:
            shown = "null" if default is None else default
            if isinstance(default, list):
                shown = ",".join(map(str, default))
            secret = SecretStr in _alternatives(annotation)
            flag = variable(f"{prefix}{name}") if secret else f"--{prefix}{name}"
            lines.append(f"{flag} {_kind(annotation)} (default: {shown})")
    return lines


def _kind(annotation: Any) -> str:
    names = {str: "text", int: "integer", float: "number", bool: "true|false", SecretStr: "secret"}
    kinds = []
    for kind in _alternatives(annotation):
        if kind is type(None):
            kinds.append("null")
        elif typing.get_origin(kind) is typing.Literal:
            kinds.append("|".join(map(str, typing.get_args(kind))))
        elif typing.get_origin(kind) is list:
            kinds.append(f"list of {_kind(typing.get_args(kind)[0])}")
        else:
            kinds.append(names.get(kind, kind.__name__.lower()))
    return "|".join(kinds)
