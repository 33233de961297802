"""The strategy of a run: a shipped one by name, or a user's own by file or entry point.

    strategy:
      name: my_strategy.py:SmallCaps      # or the name of an installed entry point
      quantile: 0.1                       # its own parameters

A user's strategy is a class whose fields are its parameters and whose ``weights(frame)`` returns
asof, ticker, weight (see ``strategies.Strategy``). What it returns is checked like our own. An
attribute ``path_dependent = False`` tells signals that weights depend on their own date only, so
that earlier rebalances need not be replayed.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from engine.config.settings import StrategySettings
from engine.errors import UsageError
from engine.yaml_file import read_yaml
from strategies import Strategy, build_strategy, check_weights

__all__ = ["ENTRY_POINTS", "GridPoint", "grid_points", "load_strategy"]

ENTRY_POINTS = "kronos_engine.strategies"
FUTURE = ("label", "label_next_open", "total_return", "matures", "mature", "label_flag")


@dataclass(frozen=True)
class GridPoint:
    """A strategy with one combination of parameters, all of them; `label` names the varied ones."""

    label: str
    parameters: Mapping[str, Any]
    strategy: Strategy


def load_strategy(name: str, parameters: Mapping[str, Any]) -> Strategy:
    """The strategy ``name`` with its parameters.

    Raises UsageError for a file that cannot be imported or holds no strategy, an unknown name, or a
    parameter that is unknown or out of range.
    """
    if name.endswith((".yaml", ".yml")):
        return _Checked(_from_steps(name, parameters), name)
    if name.partition(":")[0].endswith(".py"):
        found, source = _from_file(name), name
    else:
        installed = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
        if name not in installed:
            try:
                return build_strategy(name, **parameters)
            except ValueError as error:
                raise UsageError(str(error)) from None
        found, source = installed[name].load(), f"entry point {name}"
    return _Checked(_build(found, parameters, source), source)


def grid_points(strategy: StrategySettings) -> list[GridPoint]:
    """Every combination of `strategy.grid` over the other parameters, in the order written.

    Without a grid there is one, labelled "". Raises as `load_strategy`.
    """
    names = list(strategy.grid)
    points = []
    for values in itertools.product(*strategy.grid.values()):
        varied = dict(zip(names, values, strict=True))
        parameters = {**strategy.parameters, **varied}
        label = ", ".join(f"{name} {value}" for name, value in varied.items())
        points.append(GridPoint(label, parameters, load_strategy(strategy.name, parameters)))
    return points


@dataclass(frozen=True)
class _Checked:
    """A user's strategy whose weights must be a valid book of the names it was given."""

    strategy: Strategy
    source: str

    @property
    def path_dependent(self) -> bool:
        """What the strategy says of itself; one that says nothing may remember anything."""
        return bool(getattr(self.strategy, "path_dependent", True))

    @property
    def needs_dispersion(self) -> bool:
        """Whether it says that it reads the dispersion of sampled paths."""
        return bool(getattr(self.strategy, "needs_dispersion", False))

    @property
    def horizon(self) -> int | None:
        """The horizon it ranks by, in sessions, where it has such a parameter."""
        return getattr(self.strategy, "horizon", None)

    def weights(self, frame: pl.DataFrame) -> pl.DataFrame:
        try:
            weights = self.strategy.weights(frame)
        except pl.exceptions.ColumnNotFoundError as error:
            raise UsageError(self._missing_column(str(error), frame)) from None
        except ValueError as error:
            raise UsageError(f"{self.source}: {error}") from None
        if not isinstance(weights, pl.DataFrame) or set(weights.columns) != {
            *("asof", "ticker", "weight")
        }:
            got = weights.columns if isinstance(weights, pl.DataFrame) else type(weights).__name__
            raise UsageError(
                f"{self.source}: weights() must return a frame of asof, ticker, weight; got {got}"
            )
        if not weights["weight"].dtype.is_numeric():
            raise UsageError(
                f"{self.source}: weight must be numbers, got {weights['weight'].dtype}"
            )
        weights = weights.select("asof", "ticker", pl.col("weight").cast(pl.Float64))
        self._check_names(weights, frame)
        try:
            return check_weights(weights, gross=self._limit())
        except ValueError as error:
            raise UsageError(f"{self.source}: {error}") from None

    def _limit(self) -> float:
        """Σ|weight| of a date: its own limit, its gross, or 1."""
        gross = getattr(self.strategy, "gross", 1.0)
        return float(getattr(self.strategy, "limit", gross))

    def _check_names(self, weights: pl.DataFrame, frame: pl.DataFrame) -> None:
        unknown = weights.join(frame.select("asof", "ticker"), on=["asof", "ticker"], how="anti")
        if unknown.height:
            row = unknown.row(0, named=True)
            raise UsageError(
                f"{self.source}: a weight for {row['ticker']} on {row['asof']}, which has no score "
                "there; only scored names can be held"
            )

    def _missing_column(self, message: str, frame: pl.DataFrame) -> str:
        column = next((name for name in FUTURE if f'"{name}"' in message), None)
        if column:
            return (
                f"{self.source}: reads {column!r}: labels are of the future, no strategy sees them"
            )
        named = message.splitlines()[0]
        return (
            f"{self.source}: {named}; the score frame has {', '.join(frame.columns)} "
            "(add factors to `features`)"
        )


def _build(found: Any, parameters: Mapping[str, Any], source: str) -> Strategy:
    try:
        built: Strategy = found(**parameters)
    except TypeError as error:
        accepted = ", ".join(inspect.signature(found).parameters) or "none"
        raise UsageError(f"{source}: {error}; its parameters: {accepted}") from None
    except ValueError as error:
        raise UsageError(f"{source}: {error}") from None
    if not callable(getattr(built, "weights", None)):
        raise UsageError(f"{source}: has no method weights(frame)")
    return built


def _from_steps(name: str, parameters: Mapping[str, Any]) -> Strategy:
    """The composition a YAML file describes; ``parameters`` come before what it says."""
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"strategy.name: no file {name!r}")
    steps = read_yaml(path)
    try:
        if not isinstance(steps, dict):
            raise ValueError("must hold the steps: select, weigh, …")
        return build_strategy("composed", **steps | dict(parameters))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{name}: {' '.join(str(error).split())}") from None


def _from_file(name: str) -> Any:
    written, _, wanted = name.partition(":")
    path = Path(written)
    if not path.is_file():
        raise UsageError(f"strategy.name: no file {written!r}")
    module = _import(path)
    classes = {
        key: value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and callable(getattr(value, "weights", None))
    }
    if wanted:
        if wanted not in classes:
            have = ", ".join(classes) or "none"
            raise UsageError(f"{written}: no strategy class {wanted!r}; there are: {have}")
        return classes[wanted]
    if len(classes) != 1:
        have = ", ".join(classes) or "none"
        raise UsageError(
            f"{written}: needs one class with a method weights(frame), has {have}; name one as "
            f"{written}:CLASS"
        )
    return next(iter(classes.values()))


def _import(path: Path) -> ModuleType:
    name = f"strategy_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: {type(error).__name__}: {reason}") from None
    return module
