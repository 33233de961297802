"""Windows checked and normalised, ready to run, and put in groups of one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kronos.bars import COLUMNS, calendar_stamps, check_bars, normalise
from kronos.decoding.sampling import path_uniforms
from kronos.forecast import CLOSE

__all__ = ["Prepared", "WindowGroup", "group_by_length", "prepare"]


@dataclass(frozen=True)
class WindowGroup:
    """Windows of one length, and their numbers in the call."""

    values: np.ndarray
    x_stamp: np.ndarray
    y_stamp: np.ndarray
    seeds: Sequence[int] | None
    names: Sequence[str] | None
    members: list[int]


@dataclass(frozen=True)
class Prepared:
    """What a forecast needs of W windows of one length L.

    Attributes
    ----------
    x : float32 [W, L, 6]
        Normalised and clipped.
    mean, scale : float32 [W, 6]
        Map normalised bars back.
    stamp : int64 [W, L + steps, 5]
    uniforms : float64 [W · paths, steps, 2]
        None without seeds.
    labels
        One a window.
    timestamps : datetime64 [W, steps]
        Of the forecast; None when features were given.
    last_close : float32 [W]
    change_std : float64 [W]
        Standard deviation of the changes of the close.
    """

    x: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    stamp: np.ndarray
    uniforms: np.ndarray | None
    labels: tuple[str, ...]
    timestamps: np.ndarray | None
    last_close: np.ndarray
    change_std: np.ndarray

    @property
    def steps(self) -> int:
        return self.stamp.shape[1] - self.x.shape[1]


def group_by_length(
    values: Sequence[np.ndarray] | np.ndarray,
    x_stamp: Sequence[np.ndarray] | np.ndarray,
    y_stamp: np.ndarray,
    seeds: Sequence[int] | None,
    names: Sequence[str] | None,
) -> list[WindowGroup]:
    """One group a length, in order of appearance. Raises ValueError for counts that differ."""
    if len({len(window) for window in values}) <= 1:
        whole = np.asarray(values), np.asarray(x_stamp)
        return [WindowGroup(*whole, y_stamp, seeds, names, list(range(len(values))))]
    count = len(values)
    names = [f"window {i}" for i in range(count)] if names is None else list(names)
    given = {"x_stamp": x_stamp, "y_stamp": y_stamp, "names": names, "seeds": seeds}
    for which, entries in given.items():
        if entries is not None and len(entries) != count:
            raise ValueError(f"{which} has {len(entries)} entries for {count} windows")
    by_length: dict[int, list[int]] = {}
    for i, window in enumerate(values):
        if len(x_stamp[i]) != len(window):
            raise ValueError(
                f"{names[i]}: x_stamp has {len(x_stamp[i])} entries, {len(window)} needed"
            )
        by_length.setdefault(len(window), []).append(i)
    return [
        WindowGroup(
            np.stack([values[i] for i in members]),
            np.stack([x_stamp[i] for i in members]),
            np.stack([y_stamp[i] for i in members]),
            None if seeds is None else [seeds[i] for i in members],
            [names[i] for i in members],
            members,
        )
        for members in by_length.values()
    ]


def prepare(group: WindowGroup, *, paths: int, clip: float, max_context: int) -> Prepared:
    """Check and normalise a group. Raises ValueError naming the window and the rule."""
    values, seeds = group.values, group.seeds
    if values.ndim != 3 or values.shape[2] != len(COLUMNS):
        raise ValueError(f"values has shape {values.shape}; it must be [windows, bars, 6]")
    windows, length = values.shape[:2]
    labels = [f"window {i}" for i in range(windows)] if group.names is None else list(group.names)
    if len(labels) != windows:
        raise ValueError(f"names has {len(labels)} entries for {windows} windows")
    for label, window in zip(labels, values, strict=True):
        check_bars(window, label)
    x_features, y_features = calendar_stamps(group.x_stamp, group.y_stamp, labels, length)
    steps = y_features.shape[1]
    if steps > max_context:
        raise ValueError(f"{steps} steps are more than max_context ({max_context})")
    uniforms = None
    if seeds is not None:
        if len(seeds) != windows:
            raise ValueError(f"seeds has {len(seeds)} entries for {windows} windows")
        uniforms = path_uniforms(seeds, paths, steps).reshape(windows * paths, steps, 2)
    normal = [normalise(window, clip) for window in values]
    x, mean, scale = (
        (np.stack(part) for part in zip(*normal, strict=True))
        if normal
        else (np.empty((0, *shape), np.float32) for shape in ((length, 6), (6,), (6,)))
    )
    y_stamp = np.asarray(group.y_stamp)
    close = values[:, :, CLOSE].astype(np.float64)
    return Prepared(
        x,
        mean,
        scale,
        np.concatenate((x_features, y_features), axis=1),
        uniforms,
        tuple(labels),
        y_stamp if y_stamp.dtype.kind == "M" else None,
        values[:, -1, CLOSE].astype(np.float32),
        np.diff(close, axis=1).std(axis=1),
    )
