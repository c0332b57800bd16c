"""What has arrived lately, slot by slot, and requests like it: a rehearsal needs arrivals that have not come yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import Deployment, RoutingPlan
from domain.telemetry import Records, Snapshot
from domain.testbed import Testbed
from domain.workload import Arrivals

GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, spread evenly however many there are (Weyl)."""


@dataclass(frozen=True, slots=True)
class SlotTraffic:
    """What arrived in one slot, [N, I] each, by origin node and LM."""

    requests: NDArray[np.int64]
    prompts: NDArray[np.int64]


class WatchedTestbed:
    """A testbed that remembers what arrived in its last slots.

    It implements `domain.testbed.Testbed` over another one. Each slot is observed once, whoever asks how often, also
    where slots are only played again after a kill.
    """

    def __init__(self, testbed: Testbed, slots: int) -> None:
        """Watch `testbed` and remember its last `slots` slots."""
        self.inner = testbed
        self.recent: deque[SlotTraffic] = deque(maxlen=slots)
        self._seen: Snapshot | None = None

    @property
    def cluster(self) -> Cluster:
        """What the cluster is."""
        return self.inner.cluster

    async def observe(self) -> Snapshot:
        """Everything known at the end of the last slot."""
        if self._seen is None:
            self._seen = await self.inner.observe()
        return self._seen

    async def route(self, plan: RoutingPlan) -> None:
        """Put a routing plan in force."""
        await self.inner.route(plan)

    async def deploy(self, deployment: Deployment) -> None:
        """Apply a deployment."""
        await self.inner.deploy(deployment)

    async def advance(self) -> Records:
        """Let the slot pass and note what arrived in it."""
        records = await self.inner.advance()
        self.note(await self.inner.observe())
        return records

    def note(self, snapshot: Snapshot) -> None:
        """Take in the snapshot after a slot that was played past this testbed, in the testbed within."""
        self._seen = snapshot
        self.recent.append(SlotTraffic(snapshot.arrived_requests, snapshot.arrived_prompts))


def come_again(recent: Sequence[SlotTraffic], slot_s: float, first: int, slots: int) -> Arrivals:
    """Let the last of the recent slots, as many as `slots` or all, come again in order from slot `first` on, and again.

    Of a slot only counts are known: the requests of an (origin, LM) come at even intervals, those of different ones at
    different times, and share their prompts evenly.

    Raises:
        ValueError: nothing is known to come again.
    """
    if not recent:
        raise ValueError("no slot has been seen")
    times, origins, lms, prompts = [], [], [], []
    last = list(recent)[-slots:]
    for k in range(slots):
        seen = last[k % len(last)]
        n, i = np.nonzero(seen.requests)
        count, total = seen.requests[n, i], seen.prompts[n, i]
        cell = np.repeat(np.arange(n.size), count)
        place = np.arange(cell.size) - np.repeat(np.cumsum(count) - count, count)
        phase = (cell + 0.5) * GOLDEN % 1.0
        times.append((first + k + (place + phase) / count[cell]) * slot_s)
        origins.append(n[cell])
        lms.append(i[cell])
        prompts.append(total[cell] // count[cell] + (place < total[cell] % count[cell]))
    return Arrivals.of(np.concatenate(times), np.concatenate(origins), np.concatenate(lms), np.concatenate(prompts))
