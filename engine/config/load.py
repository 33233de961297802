"""Settings from flags, environment and file.

1. `read_flags` splits the command line into settings and options of the command itself.
2. `read_environment` collects `ENGINE_SECTION__KEY` variables.
3. `read_file` reads the YAML file (default `configs/demo.yaml`).
4. Each source's keys are checked where they stand, so an error can name the source.
5. `load_settings` merges them (flag, environment, file, default) and validates the values. A
   strategy's parameters go with the name they were given beside, not with another one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from engine.config.keys import (
    ENV_PREFIX,
    from_text,
    is_known,
    nearest_key,
    secret_settings,
    setting_types,
    variable,
)
from engine.config.settings import Settings, StrategySettings
from engine.errors import UsageError
from engine.yaml_file import read_yaml

__all__ = [
    "CONFIGS",
    "find_config",
    "load_settings",
    "load_tree",
    "read_environment",
    "read_flags",
]

Tree = TypeVar("Tree", bound=BaseModel)

log = logging.getLogger(__name__)

_INSIDE = Path(__file__).resolve().parents[1] / "configs"
# Inside the package where a wheel was installed, else at the root of the checkout.
CONFIGS = _INSIDE if _INSIDE.is_dir() else _INSIDE.parents[1] / "configs"
_OF_ANY_STRATEGY = ("strategy.name", "strategy.since")


def load_settings(
    flags: Mapping[str, str] | None = None,
    *,
    config: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The resolved settings.

    `flags` maps dotted keys to text, as `read_flags` gives them; `config` is a YAML file, a name
    in the project's configs folder, or None for `demo.yaml`. Raises `UsageError` naming the key,
    where it stands and the rule.
    """
    file = find_config(config)
    given = os.environ if environment is None else environment
    settings = load_tree(Settings, file, read_environment(given), flags or {})
    return settings.model_copy(
        update={
            "evaluation": settings.evaluation.model_copy(
                update={"gates": find_config(settings.evaluation.gates, beside=file.parent)}
            )
        }
    )


def load_tree(
    model: type[Tree], file: Path, environment: Mapping[str, Any], flags: Mapping[str, str]
) -> Tree:
    """The tree `model` from a YAML file, values of the environment by dotted key, and flags.

    Raises `UsageError` naming the key, where it stands and the rule.
    """
    for key in secret_settings(model).intersection(flags):
        raise UsageError(
            f"{key}: a secret is no flag, for every user of the machine can read it there; give "
            f"the environment variable {variable(key)} or write it in the file"
        )
    layers = [
        (f"file {file}", read_file(file, model)),
        ("environment", environment),
        ("flag", {key: from_text(key, text, model) for key, text in flags.items()}),
    ]
    for where, layer in layers:
        for key in layer:
            _require_known(key, where, model)
    merged: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for where, layer in _without_foreign_parameters(layers):
        for key, value in layer.items():
            merged[key] = value
            origin[key] = where
    try:
        return model(**_nested(merged))
    except ValidationError as error:
        raise UsageError(_explain(error, origin, model)) from None


def _without_foreign_parameters(
    layers: Sequence[tuple[str, Mapping[str, Any]]],
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The layers without parameters and grid of a strategy that a later layer replaces.

    A layer that names no strategy means the one that is chosen; only the first, the file, means
    the default one.
    """
    name, default = "strategy.name", StrategySettings().name
    chosen = next((layer[name] for _, layer in reversed(layers) if name in layer), default)
    for place, (where, layer) in enumerate(layers):
        own = layer.get(name, chosen if place else default)
        foreign = [
            key
            for key in layer
            if own != chosen and key.startswith("strategy.") and key not in _OF_ANY_STRATEGY
        ]
        if foreign:
            log.warning(
                "strategy.name: %s replaces %s, so %s (%s) %s dropped",
                chosen,
                own,
                ", ".join(foreign),
                where,
                "is" if len(foreign) == 1 else "are",
            )
        yield where, {key: value for key, value in layer.items() if key not in foreign}


def read_flags(
    argv: Sequence[str], options: Mapping[str, bool], model: type[BaseModel] = Settings
) -> tuple[dict[str, str], dict]:
    """(settings, options) from a command line of `--key value` and `--key=value`.

    `options` names the command's own flags and whether each takes a value.
    """
    settings: dict[str, str] = {}
    chosen: dict[str, str | bool] = {}
    tokens = list(argv)
    while tokens:
        token = tokens.pop(0)
        if not token.startswith("--") or token == "--":
            raise UsageError(f"unexpected argument '{token}': settings are --section.key VALUE")
        key, equals, value = token[2:].partition("=")
        if options.get(key) is False:
            if equals:
                raise UsageError(f"--{key} takes no value")
            chosen[key] = True
            continue
        if not options.get(key) and not is_known(key, model):
            _reject(key, f"flag --{key}", model, extra=[*options])
        if not equals:
            if not tokens or tokens[0].startswith("--"):
                raise UsageError(f"--{key} needs a value")
            value = tokens.pop(0)
        (chosen if key in options else settings)[key] = value
    return settings, chosen


def read_environment(
    environment: Mapping[str, str], model: type[BaseModel] = Settings
) -> dict[str, Any]:
    """Dotted keys from `ENGINE_SECTION__KEY=text`.

    For another tree than the main job's, variables that only the main job knows are passed over.
    """
    found: dict[str, Any] = {}
    for name, text in sorted(environment.items()):
        if name.upper().startswith(ENV_PREFIX):
            key = name[len(ENV_PREFIX) :].lower().replace("__", ".")
            if is_known(key) and not is_known(key, model):
                continue
            _require_known(key, f"environment variable {name}", model)
            found[key] = from_text(key, text, model)
    return found


def find_config(name: str | Path | None, *, beside: Path | None = None) -> Path:
    """A configuration file: as given, beside the configuration, or in the configs folder."""
    wanted = Path(name or "demo.yaml")
    places = [wanted, *([beside / wanted] if beside else []), CONFIGS / wanted]
    for place in places:
        if place.is_file():
            return place.resolve()
    known = ", ".join(sorted(f.name for f in CONFIGS.glob("*.yaml")))
    raise UsageError(f"configuration file not found: {wanted} (shipped: {known})")


def read_file(path: Path, model: type[BaseModel] = Settings) -> dict[str, Any]:
    """Dotted keys from a YAML file of nested sections."""
    tree = read_yaml(path)
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UsageError(f"{path}: must hold sections with keys, not a {type(tree).__name__}")
    return dict(_flat(tree, path, model))


def _flat(
    tree: Mapping[Any, Any], path: Path, model: type[BaseModel], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    sections = {key.rsplit(".", 1)[0] for key in setting_types(model) if "." in key}
    sections |= {section.split(".")[0] for section in sections}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        # A step or a grid of a strategy is one value, however deep.
        if isinstance(value, dict) and not (prefix and is_known(key, model)):
            yield from _flat(value, path, model, f"{key}.")
        elif value is None and key in sections:
            continue  # a section header with everything under it commented out
        else:
            yield key, value


def _require_known(key: str, where: str, model: type[BaseModel]) -> None:
    if not is_known(key, model):
        _reject(key, where, model)


def _reject(key: str, where: str, model: type[BaseModel], extra: Sequence[str] = ()) -> NoReturn:
    candidates = [*setting_types(model), *extra]
    hint = nearest_key(key, candidates)
    raise UsageError(f"unknown key '{key}' ({where}); did you mean '{hint}'?")


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, leaf = key.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[leaf] = value
    return tree


def _explain(
    error: ValidationError, origin: Mapping[str, str], model: type[BaseModel] = Settings
) -> str:
    """The first broken rule, in one line, with the key and where its value came from."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = next(
        (
            ".".join(path[:n])
            for n in range(len(path), 0, -1)
            if is_known(".".join(path[:n]), model)
        ),
        ".".join(path),
    )
    rule = first["msg"].removeprefix("Value error, ")
    where = origin.get(key)
    shown = "a secret" if key in secret_settings(model) else repr(first["input"])
    given = f" (given {shown}, {where})" if where else ""
    return f"{key}: {rule}{given}" if key and not rule.startswith(key.split(".")[0]) else rule
