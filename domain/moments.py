"""Moments: seconds as people write them, on a clock that counts whole nanoseconds (docs/twin.md, Time).

No double is 7.3, and in doubles 13 slots of 7.3 s end at 94.89999999999999. Whether a request at 94.9 s comes before or
after the end of that slot must not hang on such a digit: whoever compares moments compares them on this clock.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

NS_PER_S = 1e9
FINE_S = 2.0**21
"""24 days. Up to here a double of seconds, and a product of two, tell nanoseconds apart; later on, microseconds."""


def nanoseconds(seconds: float) -> float:
    """Return a moment, in seconds since the start of the run, on the clock: a whole number of nanoseconds."""
    if seconds < FINE_S:
        return float(np.rint(seconds * NS_PER_S))
    return float(np.rint(seconds * 1e6) * 1e3)


def on_clock(seconds: ArrayLike) -> NDArray[np.float64]:
    """Return `nanoseconds` of moments, of any shape."""
    times = np.asarray(seconds, dtype=np.float64)
    return np.where(times < FINE_S, np.rint(times * NS_PER_S), np.rint(times * 1e6) * 1e3)


def verge(seconds: float) -> float:
    """Return the seconds from which on a moment counts as `seconds` or later, rather than before it."""
    return seconds - (0.5e-9 if seconds < FINE_S else 0.5e-6)


def last_before(seconds: float) -> float:
    """Return the last moment before one, both in seconds."""
    return seconds - (1e-9 if seconds < FINE_S else 1e-6)


def slots_at(time_s: ArrayLike, slot_s: float) -> NDArray[np.int64]:
    """Return the slots in which moments lie, for moments in seconds of any shape."""
    times = np.asarray(time_s, dtype=np.float64)
    slots = np.floor(times / slot_s)
    slots += times >= _verges((slots + 1.0) * slot_s)
    slots -= times < _verges(slots * slot_s)
    return slots.astype(np.int64)


def slots_until(end_s: float, slot_s: float) -> int:
    """Return how many slots begin before a moment."""
    last = int(slots_at(end_s, slot_s))
    return last + (last * slot_s < verge(end_s))


def _verges(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    return seconds - np.where(seconds < FINE_S, 0.5e-9, 0.5e-6)
