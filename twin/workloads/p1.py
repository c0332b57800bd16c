"""The workload of P1 section V-B: in each slot, each node receives at most one request of each LM, of K prompts."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from domain.moments import last_before
from domain.workload import Arrivals
from twin.workloads.randomness import Part, generator


class P1Stream:
    """K uniform in 0 … most_prompts for each slot, node and LM (0 is no request), at a uniform time of the slot."""

    slots: int | None = None

    def __init__(
        self,
        nodes: int,
        lms: NDArray[np.int64],
        slot_s: float,
        most_prompts: int,
        spread_s: float,
        load: float,
        seed: int,
        stream: int,
    ) -> None:
        """Take the number of nodes, the LMs that get requests, and the seconds of a slot in which they come.

        A load of 2.5 makes two draws for each (slot, node, LM), and a third that counts with probability 0.5.
        """
        draws = math.ceil(load)
        cells = nodes * len(lms)
        self._origin = np.tile(np.repeat(np.arange(nodes, dtype=np.int64), len(lms)), draws)
        self._lm = np.tile(np.asarray(lms, dtype=np.int64), nodes * draws)
        self._kept = np.repeat([1.0] * (draws - 1) + [load - (draws - 1)], cells)
        self._thinned = load != draws
        self._slot_s, self._spread_s, self._most_prompts = slot_s, spread_s, most_prompts
        self._seed, self._stream = seed, stream

    def arrivals(self, slot: int) -> Arrivals:
        """Return the requests of a slot."""
        rng = generator(self._seed, self._stream, Part.SLOT, slot)
        u = rng.random((3, len(self._origin)))
        prompts = (u[0] * (self._most_prompts + 1)).astype(np.int64)
        if self._thinned:
            prompts[u[2] >= self._kept] = 0
        here = np.flatnonzero(prompts)
        here = here[np.argsort(u[1, here], kind="stable")]
        end = last_before((slot + 1) * self._slot_s)  # rounding may not carry a request into the next slot
        times = np.minimum(slot * self._slot_s + u[1, here] * self._spread_s, end)
        return Arrivals(times, self._origin[here], self._lm[here], prompts[here])

    def coverage(self, slots: int) -> None:
        """None: it never ends."""

    def describe(self) -> str:
        """The stream in a sentence."""
        nonzero = self._most_prompts / (self._most_prompts + 1)
        rate = float(self._kept.sum()) * nonzero / self._slot_s
        return (
            f"p1: in each slot, each node and LM draws K in 0…{self._most_prompts}; "
            f"{rate:.3g} requests/s, K = {(self._most_prompts + 1) / 2:g} on average"
        )
