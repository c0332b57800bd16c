"""A Poisson process whose rate, LMs and origins may move with time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from domain.moments import last_before
from domain.workload import Arrivals
from twin.workloads.batches import BatchSizes
from twin.workloads.choice import Choice
from twin.workloads.modulation import Factor
from twin.workloads.randomness import Part, generator


class PoissonStream:
    """Requests at rate_s times all factors; LM, origin and prompts of each are drawn independently.

    Exact at every instant: candidates arrive at the highest rate of the slot and are kept with probability
    rate / highest rate (thinning; Lewis and Shedler, 1979).
    """

    slots: int | None = None

    def __init__(
        self,
        rate_s: float,
        factors: Sequence[Factor],
        lms: Choice,
        origins: Choice,
        prompts: BatchSizes,
        slot_s: float,
        seed: int,
        stream: int,
    ) -> None:
        """Take the mean rate of the whole cluster in requests per second, and who and how large the requests are."""
        self._rate_s, self._factors = rate_s, tuple(factors)
        self._lms, self._origins, self._prompts = lms, origins, prompts
        self._slot_s, self._seed, self._stream = slot_s, seed, stream

    def arrivals(self, slot: int) -> Arrivals:
        """Return the requests of a slot."""
        rng = generator(self._seed, self._stream, Part.SLOT, slot)
        start, end = slot * self._slot_s, (slot + 1) * self._slot_s
        highest = math.prod([self._rate_s, *(factor.bound(start, end) for factor in self._factors)])
        count = int(rng.poisson(highest * self._slot_s))
        # The minimum: rounding may not carry a request into the next slot.
        times = np.minimum(start + np.sort(rng.random(count)) * self._slot_s, last_before(end))
        if self._factors:
            draws = rng.random(count) * highest
            rate = math.prod([factor.at(times) for factor in self._factors], start=self._rate_s)
            times = times[draws < rate]
        u = rng.random((5, len(times)))
        origin, lm = self._origins.pick(times, u[:2]), self._lms.pick(times, u[2:4])
        return Arrivals(times, origin, lm, self._prompts.pick(u[4]))

    def coverage(self, slots: int) -> None:
        """None: it never ends."""

    def describe(self) -> str:
        """The stream in a sentence."""
        moves = "".join(f", times {factor.describe()}" for factor in self._factors)
        return f"poisson: {self._rate_s:.3g} requests/s, K = {self._prompts.mean:.3g} on average{moves}"
