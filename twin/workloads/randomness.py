"""Random numbers by address: what slot 100,000 draws does not depend on whether slot 99,999 was ever asked for.

Philox is a generator that counts (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011): its
numbers are a function of a key and a counter, so the address goes straight in, and no two addresses overlap.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from enum import IntEnum
from hashlib import blake2b
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Part(IntEnum):
    """What the numbers of a stream are drawn for."""

    SLOT = 0
    BURSTS = 1
    TRACE = 2
    WINDOW = 3


def generator(seed: int, stream: int, part: Part, index: int) -> np.random.Generator:
    """Return the random numbers that belong to (seed, stream, part, index), the same whenever they are asked for."""
    key = np.array([seed % 2**64, stream], dtype=np.uint64)
    counter = np.array([0, 0, index, part], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def hashed(seed: int, names: Iterable[str]) -> NDArray[np.float64]:
    """Return a number in [0, 1) per name that depends on the seed and the name alone."""
    digests = (blake2b(f"{seed}:{name}".encode(), digest_size=8).digest() for name in names)
    values: NDArray[np.float64] = np.array([int.from_bytes(digest) >> 11 for digest in digests], dtype=np.float64)
    return values / 2**53


class Recent(Generic[K, T]):
    """The last few results of a costly function; it only saves time, never changes a result."""

    def __init__(self, make: Callable[[K], T], keep: int = 4) -> None:
        self._make = make
        self._keep = keep
        self._known: dict[K, T] = {}

    def __call__(self, key: K) -> T:
        """Return the result for a key, made anew where it is not among the last few."""
        result = self._known.get(key)
        if result is None:
            result = self._make(key)
            self._known = {**dict(list(self._known.items())[1 - self._keep :]), key: result}
        return result
