"""A workload is a sum of streams: their requests together, in order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from domain.workload import Arrivals, Workload
from twin.workloads.usage import Coverage


class Stream(Workload, Protocol):
    """One source of requests in a workload."""

    def coverage(self, slots: int) -> Coverage | None:
        """Return how far so many slots play it; None where it never ends."""
        ...

    def describe(self) -> str:
        """Return the stream in a sentence."""
        ...


@dataclass(frozen=True)
class Streams:
    """The sum of streams; a stream that is over is silent while others go on."""

    name: str
    description: str
    parts: Sequence[Stream]
    warnings: tuple[str, ...] = ()
    """What is left out of its files and hardly meant to be."""
    notes: tuple[str, ...] = ()
    """What else readers of traces had to say."""
    horizon: int | None = None
    """Slots after which all is silent; None where the streams decide."""

    @property
    def slots(self) -> int | None:
        """Slots until the last stream is over, or the horizon; None where it never ends."""
        ends = [part.slots for part in self.parts]
        longest = None if None in ends else max(end for end in ends if end is not None)
        limits = [limit for limit in (self.horizon, longest) if limit is not None]
        return min(limits) if limits else None

    def arrivals(self, slot: int) -> Arrivals:
        """Return the requests of a slot; requests at the same time come in the order of their streams."""
        if slot < 0:
            raise ValueError(f"slots count from 0, not {slot}")
        if self.horizon is not None and slot >= self.horizon:
            return Arrivals.empty()
        parts = [arrivals for part in self.parts if len(arrivals := part.arrivals(slot))]
        if len(parts) < 2:
            return parts[0] if parts else Arrivals.empty()
        time_s = np.concatenate([p.time_s for p in parts])
        order = np.argsort(time_s, kind="stable")
        return Arrivals(
            time_s[order],
            np.concatenate([p.origin for p in parts])[order],
            np.concatenate([p.lm for p in parts])[order],
            np.concatenate([p.prompts for p in parts])[order],
        )


def describe(workload: Workload) -> list[str]:
    """Return what a workload is made of, a line each, for a report."""
    if not isinstance(workload, Streams):
        return [type(workload).__name__]
    ends = "never ends" if workload.slots is None else f"{workload.slots:,} slots"
    return [
        f"{workload.name} ({ends}): {workload.description}".rstrip(": "),
        *(part.describe() for part in workload.parts),
        *workload.warnings,
        *workload.notes,
    ]
