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

    def at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor at times [R] >= 0 in seconds of the run, in order."""
        ...

    def bound(self, start_s: float, end_s: float) -> float:
        """Return a value that the factor does not exceed from start_s to end_s."""
        ...

    @property
    def highest(self) -> float:
        """A value that it never exceeds."""
        ...

    def describe(self) -> str:
        """Return the factor in words."""
        ...


class Points:
    """Linear between given points, constant before the first and after the last."""

    def __init__(self, at_s: Sequence[float], factors: Sequence[float]) -> None:
        """Take increasing times in seconds of the run and the factor at each."""
        self._at_s, self._factors = np.asarray(at_s, dtype=np.float64), np.asarray(factors, dtype=np.float64)

    def at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor at times [R]."""
        return np.interp(time_s, self._at_s, self._factors)

    def bound(self, start_s: float, end_s: float) -> float:
        """Return the maximum, which is at an end or at a point between."""
        between = self._factors[(self._at_s > start_s) & (self._at_s < end_s)]
        return float(max(between.max(initial=0.0), *self.at(np.array([start_s, end_s]))))

    @property
    def highest(self) -> float:
        """The largest of the factors."""
        return float(self._factors.max())

    def describe(self) -> str:
        """Return the factor in words."""
        return f"a factor that moves between {self._factors.min():g} and {self._factors.max():g}"


@dataclass(frozen=True)
class Wave:
    """1 + amplitude * cos: the wave of day and night, with mean 1 over a period."""

    amplitude: float
    period_s: float
    peak_s: float
    """Seconds of the run at which it is highest."""

    def at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor at times [R]."""
        return 1 + self.amplitude * np.cos(2 * math.pi / self.period_s * (time_s - self.peak_s))

    def bound(self, start_s: float, end_s: float) -> float:
        """Return the value at the peak."""
        return self.highest

    @property
    def highest(self) -> float:
        """The value at the peak."""
        return 1 + self.amplitude

    def describe(self) -> str:
        """Return the factor in words."""
        return f"a wave of {self.amplitude:.0%} with a period of {self.period_s:g} s"


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
        self._words = f"bursts ({burst_s:g} s on average, {ratio:g} times the rate of quiet, which lasts {quiet_s:g} s)"

    def at(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the factor at times [R]."""
        if not len(time_s):
            return np.empty(0)
        instants, factors = self._path(time_s[0], time_s[-1])
        here: NDArray[np.float64] = factors[np.searchsorted(instants, time_s, side="right") - 1]
        return here

    def bound(self, start_s: float, end_s: float) -> float:
        """Return the maximum."""
        instants, factors = self._path(start_s, end_s)
        first = np.searchsorted(instants, start_s, side="right") - 1
        return float(factors[first : np.searchsorted(instants, end_s, side="right")].max())

    @property
    def highest(self) -> float:
        """The factor of a burst."""
        return float(self._factors.max())

    def describe(self) -> str:
        """Return the factor in words."""
        return self._words

    def _path(self, start_s: float, end_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Instants in order, the first not after start_s, and the factor from each on."""
        first, last = int(start_s // self._block_s), int(end_s // self._block_s)
        blocks = [self._block(b) for b in range(first, last + 1)]
        while blocks[0][0].size == 0 or blocks[0][0][0] > start_s:
            first -= 1
            blocks.insert(0, self._block(first))
        if len(blocks) == 1:
            return blocks[0]
        return np.concatenate([b[0] for b in blocks]), np.concatenate([b[1] for b in blocks])

    def _draw(self, block: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The instants of forgetting in a block and the factors drawn there; block -1 holds that of the start."""
        rng = generator(self._seed, self._stream, Part.BURSTS, block + 1)
        count = 1 if block < 0 else int(rng.poisson(self.INSTANTS_A_BLOCK))
        instants = np.sort((block + rng.random(count)) * self._block_s)
        return instants, self._factors[(rng.random(count) < self._burst_share).astype(np.int64)]
