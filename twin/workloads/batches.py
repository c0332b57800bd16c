"""How many prompts a request has: K of P1 section III."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


class BatchSizes:
    """A distribution over 1, 2, … prompts; K = 0 is no request and has no place here."""

    def __init__(self, weights: ArrayLike) -> None:
        """Take the weight of 1 prompt, of 2, and so on."""
        total = np.cumsum(np.asarray(weights, dtype=np.float64))
        self._cdf = total / total[-1]

    def pick(self, u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return [R] prompts for uniform numbers u [R] in [0, 1)."""
        return np.searchsorted(self._cdf, u, side="right").astype(np.int64, copy=False) + 1

    @property
    def mean(self) -> float:
        """Prompts per request."""
        return float(np.diff(self._cdf, prepend=0.0) @ np.arange(1, len(self._cdf) + 1))


def fixed(prompts: int) -> BatchSizes:
    """Return `prompts` always."""
    return uniform(prompts, prompts)


def uniform(low: int, high: int) -> BatchSizes:
    """Return low … high, each as likely."""
    return BatchSizes(np.arange(1, high + 1) >= low)


def geometric(mean: float, most: int) -> BatchSizes:
    """Return a geometric distribution from 1 up, of the given mean before it is cut off above `most`."""
    return BatchSizes((1 - 1 / mean) ** np.arange(most))
