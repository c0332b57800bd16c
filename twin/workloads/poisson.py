"""A Poisson process whose rate, LMs and origins may move with time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domain.workload import Arrivals
from twin.workloads.batches import BatchSizes
from twin.workloads.choice import Choice
from twin.workloads.modulation import Factor
from twin.workloads.randomness import Part, generator


class PoissonStream:
    """Requests at rate_s times all factors; LM, origin and prompts of each are drawn independently.

    Exact at every instant, not slot by slot: candidates arrive at the highest rate and are kept with probability
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
        self._highest = rate_s * float(np.prod([f.most for f in self._factors]))
        self._lms, self._origins, self._prompts = lms, origins, prompts
        self._slot_s, self._seed, self._stream = slot_s, seed, stream

    def arrivals(self, slot: int) -> Arrivals:
        """Return the requests of a slot."""
        rng = generator(self._seed, self._stream, Part.SLOT, slot)
        count = int(rng.poisson(self._highest * self._slot_s))
        at = np.sort(rng.random(count))
        u = rng.random((6, count))
        end = np.nextafter((slot + 1) * self._slot_s, 0.0)  # rounding may not carry a request into the next slot
        times = np.minimum((slot + at) * self._slot_s, end)
        if self._factors:
            rate = np.full(count, self._rate_s)
            for factor in self._factors:
                rate *= factor.at(times)
            kept = u[0] * self._highest < rate
            times, u = times[kept], u[:, kept]
        return Arrivals(
            times, self._origins.pick(times, u[1:3]), self._lms.pick(times, u[3:5]), self._prompts.pick(u[5])
        )

    def describe(self) -> str:
        """The stream in a sentence."""
        moving = f", rate moves up to {self._highest / self._rate_s:.3g} times that" if self._factors else ""
        return f"poisson: {self._rate_s:.3g} requests/s of {self._prompts.mean:.3g} prompts on average{moving}"
