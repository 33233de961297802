"""Random numbers of the simulation: a stream for each ticker, one for the market, prefix-stable.

A stream is drawn in one piece, session after session, so a longer draw begins with the shorter.
No stream depends on how many other tickers there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["MARKET", "TRAITS", "Draws", "Randomness"]

MARKET, TRAITS, NORMALS, UNIFORMS = range(4)


@dataclass(frozen=True)
class Draws:
    """Random numbers of some tickers, each [sessions, tickers] f64.

    Normals: `close` of the whole session, `night` for the share of it before the open, `signal`
    of the latent signal, `volume`. Uniforms: `high` and `low` for the extremes, `event` for
    endings and halts, `news` for jumps.
    """

    close: np.ndarray
    night: np.ndarray
    signal: np.ndarray
    volume: np.ndarray
    high: np.ndarray
    low: np.ndarray
    event: np.ndarray
    news: np.ndarray


@dataclass(frozen=True)
class Randomness:
    """Streams of one seed; from session `cut` on those of `other` instead, for tests that replace
    the future and demand the same past."""

    seed: int
    cut: int | None = None
    other: int = 0

    def generator(self, stream: int, number: int = 0) -> np.random.Generator:
        """The generator of a stream that does not run along time."""
        return _generator(self.seed, stream, number)

    def normals(self, stream: int, number: int, sessions: int, columns: int) -> np.ndarray:
        """Standard normals [sessions, columns]."""
        drawn = _generator(self.seed, stream, number).standard_normal((sessions, columns))
        if self.cut is not None and self.cut < sessions:
            left = sessions - self.cut
            other = _generator(self.other, stream, number)
            drawn[self.cut :] = other.standard_normal((left, columns))
        return drawn

    def uniforms(self, stream: int, number: int, sessions: int, columns: int) -> np.ndarray:
        """Uniforms in [0, 1) [sessions, columns]."""
        drawn = _generator(self.seed, stream, number).random((sessions, columns))
        if self.cut is not None and self.cut < sessions:
            left = sessions - self.cut
            drawn[self.cut :] = _generator(self.other, stream, number).random((left, columns))
        return drawn

    def tickers(self, numbers: np.ndarray, sessions: int) -> Draws:
        """The draws of the tickers `numbers`."""
        shape = (4, sessions, len(numbers))
        normal, uniform = np.empty(shape), np.empty(shape)
        for at, number in enumerate(numbers.tolist()):
            normal[:, :, at] = self.normals(NORMALS, number, sessions, 4).T
            uniform[:, :, at] = self.uniforms(UNIFORMS, number, sessions, 4).T
        return Draws(*normal, *uniform)


def _generator(seed: int, stream: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, stream, number))))
