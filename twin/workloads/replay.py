"""Requests that are known one by one, such as those of a trace, played back: from a second on, faster, fewer, again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.moments import last_before, slots_at, verge
from domain.workload import Arrivals
from twin.workloads.choice import Choice
from twin.workloads.usage import Coverage


@dataclass(frozen=True)
class ReplayStream:
    """Requests in order of time, all columns of length R."""

    time_s: NDArray[np.float64]
    """Seconds of the run, or of a round where it repeats."""
    lm: NDArray[np.int64]
    prompts: NDArray[np.int64]
    origins: Choice | NDArray[np.int64]
    """Nodes, or how to pick them for the time at which a request comes."""
    u: NDArray[np.float64]
    """[2, R] the uniform numbers to pick with; empty where the nodes are given."""
    length: int
    """Slots of one round."""
    repeat: bool
    """True where the next round begins when one is over."""
    slot_s: float
    title: str

    @property
    def slots(self) -> int | None:
        """Slots of the round; None where it repeats."""
        return None if self.repeat else self.length

    def arrivals(self, slot: int) -> Arrivals:
        """Return the requests of a slot."""
        round_, place = divmod(slot, self.length)
        if round_ and not self.repeat:
            return Arrivals.empty()
        a, b = np.searchsorted(self.time_s, [verge(place * self.slot_s), verge((place + 1) * self.slot_s)])
        times = self.time_s[a:b]
        if round_:
            start, end = slot * self.slot_s, last_before((slot + 1) * self.slot_s)
            times = np.clip(start + (times - place * self.slot_s), start, end)
        origin = self.origins[a:b] if isinstance(self.origins, np.ndarray) else self.origins.pick(times, self.u[:, a:b])
        return Arrivals(times, origin, self.lm[a:b], self.prompts[a:b])

    def coverage(self, slots: int) -> Coverage:
        """Return how many of the requests, or of those of a round, come in so many slots."""
        total = len(self.time_s)
        played = total if slots >= self.length else int(np.searchsorted(self.time_s, verge(slots * self.slot_s)))
        return Coverage(self.title, "requests", played, total, self.length, self.repeat)

    def describe(self) -> str:
        """The stream in a sentence."""
        seconds = self.length * self.slot_s
        again = ", then again" if self.repeat else ""
        rate = len(self.time_s) / seconds
        return (
            f"{self.title}: {len(self.time_s):,} requests in {self.length:,} slots{again}; "
            f"{rate:.3g} requests/s, K = {self.prompts.mean():.3g} on average"
        )


def slots_of(last_s: float, slot_s: float) -> int:
    """Return how many slots it takes until a request at `last_s` has arrived."""
    return int(slots_at(last_s, slot_s)) + 1


def resample(
    time_s: NDArray[np.float64], span: float, scale: float, u: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Scale the rate of requests: return which rows, and when, in order of time.

    Below 1, each row is kept where its uniform number is below the scale. Above, C = ceil(scale) copies are laid over
    each other, copy c = 0 … C-1 shifted by c / C of the span, what leaves at the end coming in again at the start;
    the last copy is thinned to the fraction that is left.

    Args:
        time_s: [R] seconds in 0 … span, in order.
        span: Seconds.
        scale: How many times the requests.
        u: [R] uniform numbers in [0, 1).
    """
    copies = math.ceil(scale)
    parts = [np.arange(len(time_s))] * (copies - 1) + [np.flatnonzero(u < scale - (copies - 1))]
    rows = np.concatenate(parts)
    shift = np.repeat(np.arange(copies) * (span / copies), [len(part) for part in parts])
    times = time_s[rows] + shift
    times = np.where(times > span, times - span, times)
    order = np.argsort(times, kind="stable")
    return rows[order], times[order]
