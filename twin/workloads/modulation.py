"""How the rate of a stream moves with time: points to pass through, a daily wave, bursts. Each is a factor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from twin.workloads.randomness import Part, Recent, generator


class Factor(Protocol):
    """A factor of the rate."""

    @property
    def most(self) -> float:
        """The largest value that it takes."""
        ...

    def at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor at times [R] in seconds of the run, in order."""
        ...


class Points:
    """Linear between given points, constant before the first and after the last."""

    def __init__(self, at_s: Sequence[float], factors: Sequence[float]) -> None:
        """Take increasing times in seconds of the run and the factor at each."""
        self._at_s, self._factors = np.asarray(at_s, dtype=np.float64), np.asarray(factors, dtype=np.float64)
        self.most = float(self._factors.max())

    def at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor at times [R]."""
        return np.interp(time_s, self._at_s, self._factors)


@dataclass(frozen=True)
class Wave:
    """1 + amplitude * cos: the wave of day and night, with mean 1 over a period."""

    amplitude: float
    period_s: float
    peak_s: float
    """Seconds of the run at which it is highest."""

    @property
    def most(self) -> float:
        """At the peak."""
        return 1 + self.amplitude

    def at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor at times [R]."""
        return 1 + self.amplitude * np.cos(2 * math.pi / self.period_s * (time_s - self.peak_s))


class Bursts:
    """The factor of a two-state Markov-modulated Poisson process: quiet and burst take turns, with mean 1.

    Stays in either state are exponential. Random access is exact: a two-state chain that leaves quiet at rate a and
    burst at rate b is the same process as one that forgets its state at rate a + b and draws it anew,
    burst with probability a / (a + b) (uniformization). The instants of forgetting are a Poisson process, independent
    from one block of time to the next, so each block has its own random numbers, and the state at any time is that
    of the last instant before it.
    """

    INSTANTS_A_BLOCK = 16.0

    def __init__(self, quiet_s: float, burst_s: float, ratio: float, seed: int, stream: int) -> None:
        """Take the mean stays in seconds, and the rate in a burst over that in quiet."""
        self._burst_share = burst_s / (quiet_s + burst_s)
        quiet = 1 / (1 + self._burst_share * (ratio - 1))
        self._factors = np.array([quiet, quiet * ratio])
        self._block_s = self.INSTANTS_A_BLOCK / (1 / quiet_s + 1 / burst_s)
        self._seed, self._stream = seed, stream
        self._block = Recent(self._draw)
        self.most = float(self._factors.max())

    def at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor at times [R] >= 0, in order."""
        if not len(time_s):
            return np.empty(0)
        first, last = (int(t // self._block_s) for t in (time_s[0], time_s[-1]))
        blocks = [self._block(b) for b in range(first, last + 1)]
        while blocks[0][0].size == 0 or blocks[0][0][0] > time_s[0]:
            first -= 1
            blocks.insert(0, self._block(first))
        instants, states = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        factors: NDArray[np.float64] = self._factors[states[np.searchsorted(instants, time_s, side="right") - 1]]
        return factors

    def _draw(self, block: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The instants of forgetting in a block and the states drawn there; block -1 holds the state at the start."""
        rng = generator(self._seed, self._stream, Part.BURSTS, block + 1)
        count = 1 if block < 0 else int(rng.poisson(self.INSTANTS_A_BLOCK))
        instants = np.sort((block + rng.random(count)) * self._block_s)
        return instants, (rng.random(count) < self._burst_share).astype(np.int64)
