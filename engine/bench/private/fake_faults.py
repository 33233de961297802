"""When the stand-in for Alpaca misbehaves, and how: by a seed, or as a test wants it."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Fault", "Faults", "Kind", "share_of"]

# "hang" and "reset" come without the request having been dealt with, "hang_after" and
# "reset_after" when it has been: only the answer is lost. "stale" is the order as it was before.
Kind = Literal["status", "hang", "hang_after", "reset", "reset_after", "stale", "garbage"]

_TRANSPORT: tuple[tuple[Kind, int], ...] = (
    ("status", 429),
    ("status", 500),
    ("status", 503),
    ("status", 504),
    ("reset", 0),
    ("reset_after", 0),
    ("garbage", 0),
    ("stale", 0),
)


@dataclass(frozen=True)
class Fault:
    """What is done to a request whose method and path it names ("" is any; a path's start)."""

    kind: Kind
    status: int = 0
    method: str = ""
    path: str = ""
    body: str | None = None
    retry_after: float | None = None

    def fits(self, method: str, path: str) -> bool:
        """Whether the request is one it names."""
        return self.method in ("", method) and path.startswith(self.path)


@dataclass
class Faults:
    """Faults of a script come first, in its order; then those of the seed.

    Parameters
    ----------
    seed
        None: none but the script's.
    share
        The part of requests that meet one.
    hangs
        The part of those that hang.
    in_a_row
        The most at a stretch, so that a client with more attempts always gets through.
    """

    seed: int | None = None
    share: float = 0.15
    hangs: float = 0.0
    in_a_row: int = 3
    script: list[Fault] = field(default_factory=list)
    _random: random.Random = field(init=False, repr=False)
    _stretch: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def next(self, method: str, path: str) -> Fault | None:
        """The fault of this request."""
        for at, fault in enumerate(self.script):
            if fault.fits(method, path):
                return self.script.pop(at)
        if self.seed is None or self._random.random() >= self.share:
            self._stretch = 0
            return None
        if self._stretch == self.in_a_row:
            self._stretch = 0
            return None
        self._stretch += 1
        if self._random.random() < self.hangs:
            return Fault(self._random.choice(("hang", "hang_after")))
        kind, status = self._random.choice(_TRANSPORT)
        return Fault(kind, status, retry_after=0.0 if status == 429 else None)


def share_of(seed: int, *parts: str) -> float:
    """A number from 0 to 1 that is the same for the same parts, whatever happened before."""
    text = "\0".join((str(seed), *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest(), "big") / 2**56
