"""How the numbers of several seeds are put together: a median, and an interval around it that assumes nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
"""Confidence that an interval over seeds should have, where there are seeds enough."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A median over the seeds that have a value, and the interval around it."""

    median: float
    low: float
    high: float
    count: int
    """Seeds that have a value; with one there is no interval."""
    confidence: float
    """With which the interval holds the median."""


def interval_ranks(count: int) -> tuple[int, float]:
    """Return (r, confidence): the r-th smallest and r-th largest of `count` values enclose the median so surely.

    Distribution-free: P(median in between) = 1 - 2 P(B < r), B binomial(count, 1/2). r is the greatest with a
    confidence of at least CONFIDENCE, or 1 (smallest to largest) where no r has.
    """
    best, tail = (1, 1.0 - 2.0 ** (1 - count)), 0.0
    for r in range(1, (count + 1) // 2 + 1):
        tail += math.comb(count, r - 1) / 2.0**count
        if 1.0 - 2.0 * tail < CONFIDENCE:
            break
        best = (r, 1.0 - 2.0 * tail)
    return best


def interval(values: Sequence[float | None]) -> Interval | None:
    """Return the median of the values that are there, with its interval; None where there are none."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    rank, confidence = interval_ranks(len(known))
    return Interval(float(np.median(known)), known[rank - 1], known[-rank], len(known), confidence)


def enough() -> int:
    """Return the fewest values whose interval has CONFIDENCE."""
    return next(count for count in range(2, 100) if interval_ranks(count)[1] >= CONFIDENCE)
