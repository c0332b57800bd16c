"""Requests that arrive: batches of K prompts of one LM at one origin node (P1 section III)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from domain.moments import verge


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Requests in order of time, column by column, all of length R.

    A batch of zero prompts is no request: it is never in here (P1-2 counts requests, P1 section V-B draws K from 0).
    """

    time_s: NDArray[np.float64]
    """Seconds since the start of the run."""
    origin: NDArray[np.int64]
    lm: NDArray[np.int64]
    prompts: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.time_s.shape[0])

    @classmethod
    def of(cls, time_s: ArrayLike, origin: ArrayLike, lm: ArrayLike, prompts: ArrayLike) -> Arrivals:
        """Build from columns in any order of time; rows with zero prompts are left out, ties keep their order."""
        times = np.asarray(time_s, dtype=np.float64)
        counts = np.asarray(prompts, dtype=np.int64)
        keep = np.flatnonzero(counts > 0)
        order = keep[np.argsort(times[keep], kind="stable")]
        return cls(
            times[order],
            np.asarray(origin, dtype=np.int64)[order],
            np.asarray(lm, dtype=np.int64)[order],
            counts[order],
        )

    @classmethod
    def empty(cls) -> Arrivals:
        """No requests."""
        return cls.of([], [], [], [])

    @classmethod
    def concatenate(cls, parts: list[Arrivals]) -> Arrivals:
        """Join several, in order of time."""
        if not parts:
            return cls.empty()
        return cls.of(
            np.concatenate([p.time_s for p in parts]),
            np.concatenate([p.origin for p in parts]),
            np.concatenate([p.lm for p in parts]),
            np.concatenate([p.prompts for p in parts]),
        )

    def between(self, start_s: float, end_s: float) -> Arrivals:
        """Return those with start_s <= time < end_s on the clock of whole nanoseconds (views, no copy)."""
        a, b = np.searchsorted(self.time_s, [verge(start_s), verge(end_s)], side="left")
        return Arrivals(self.time_s[a:b], self.origin[a:b], self.lm[a:b], self.prompts[a:b])


class Workload(Protocol):
    """A source of arrivals, slot by slot; the same slot always gives the same requests (resume, rehearsal)."""

    @property
    def slots(self) -> int | None:
        """Slots that the source covers; None where it never ends."""
        ...

    def arrivals(self, slot: int) -> Arrivals:
        """Return the requests of slot t, times in [t * slot_s, (t + 1) * slot_s)."""
        ...
