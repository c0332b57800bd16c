"""Drawing one of several things, nodes or LMs, with weights that may move with time.

Two uniform numbers per draw: the first says which of two neighbouring weightings holds, where weights are on
their way from one to the other, the second draws from it. That is exact for weights linear in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Choice(Protocol):
    """Who a request belongs to."""

    def pick(self, time_s: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return [R] indices for times [R] in seconds of the run and uniform numbers u [2, R] in [0, 1)."""
        ...


class Weighted:
    """The same weights always."""

    def __init__(self, weights: ArrayLike) -> None:
        """Take one weight per thing, none negative, not all zero."""
        self._cdf = _cdf(weights)

    def pick(self, time_s: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return [R] indices."""
        return _drawn(self._cdf, u[1])


class Moving:
    """Weights given at points in time, linear between two of them, constant before the first and after the last.

    Part f of the way from weights v to weights w, they are (1 - f) v + f w: a mixture of the two distributions in which
    w has the share f sum(w) / ((1 - f) sum(v) + f sum(w)).
    """

    def __init__(self, at_s: Sequence[float], weights: Sequence[ArrayLike]) -> None:
        """Take increasing times in seconds of the run and the weights at each."""
        self._at_s = np.asarray(at_s, dtype=np.float64)
        self._cdfs = [_cdf(w) for w in weights]
        totals = np.array([np.sum(w) for w in weights], dtype=np.float64)
        self._growth = np.append(totals[1:] / totals[:-1], 1.0)

    def pick(self, time_s: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return [R] indices."""
        position = np.interp(time_s, self._at_s, np.arange(len(self._at_s), dtype=np.float64))
        point = np.floor(position)
        part = position - point
        later = part * self._growth[point.astype(np.int64)]
        point = (point + (u[0] * (1.0 - part + later) < later)).astype(np.int64)
        picked = np.empty(len(time_s), dtype=np.int64)
        for p in range(point.min(initial=0), point.max(initial=0) + 1):
            here = point == p
            picked[here] = _drawn(self._cdfs[p], u[1, here])
        return picked


class HotSpot:
    """A share of everything falls on a few neighbours; the spot walks on, around all of them, in their order.

    At time j * stay_s the spot is place j, which is `width` neighbours from index j * width on, modulo their number;
    between two such times its share fades from one place to the next. The rest is even.
    """

    def __init__(self, things: int, share: float, width: int, stay_s: float) -> None:
        """Take how many things there are, the spot's share of all, how many it covers, and seconds per place."""
        self._things, self._share, self._width, self._stay_s = things, share, min(width, things), stay_s

    def pick(self, time_s: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return [R] indices."""
        position = time_s / self._stay_s
        place = np.floor(position)
        place += u[0] < position - place
        draw = u[1]
        hot = draw < self._share
        # The second number is used again, stretched to [0, 1): it is uniform on either side of the share.
        inside = (place * self._width + np.floor(draw / max(self._share, 1e-300) * self._width)) % self._things
        outside = np.floor((draw - self._share) / max(1 - self._share, 1e-300) * self._things)
        picked: NDArray[np.int64] = np.where(hot, inside, np.minimum(outside, self._things - 1)).astype(np.int64)
        return picked


def _cdf(weights: ArrayLike) -> NDArray[np.float64]:
    """Cumulative probabilities; exactly 1 from the last positive weight on, so that a weight of 0 is never drawn."""
    total: NDArray[np.float64] = np.cumsum(np.asarray(weights, dtype=np.float64))
    cdf: NDArray[np.float64] = total / total[-1]
    return cdf


def _drawn(cdf: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.int64]:
    picked: NDArray[np.int64] = np.searchsorted(cdf, u, side="right").astype(np.int64, copy=False)
    return picked
