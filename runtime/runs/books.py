"""A twin as a testbed that keeps the books of a run: records, slots and epochs, as the plain slot loop does.

The slot graph drives it. After a kill the graph plays the decisions of the slots that had passed into it again, and so
the books are whole again, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from domain.cluster import Cluster
from domain.decisions import NOWHERE, Deployment, RoutingPlan
from domain.objective import summarise
from domain.telemetry import Records, Snapshot
from domain.workload import Arrivals, Workload
from runtime.results.slots import SlotResult
from runtime.runs.loop import LostRequests, total_slots
from twin.twin import Twin


class BookedTwin:
    """Implements `domain.testbed.Testbed` over a twin in which a workload arrives for so many slots."""

    def __init__(self, cluster: Cluster, workload: Workload, slots: int, book: Callable[[SlotResult], None]) -> None:
        """Start at slot 0.

        Args:
            cluster: that is simulated.
            workload: that arrives in it.
            slots: with arrivals; after them slots pass without.
            book: is told of each slot that has passed; decisions are not counted there.
        """
        self.cluster = cluster
        self._twin, self._workload, self._slots, self._book = Twin(cluster), workload, slots, book
        self._last = total_slots(cluster, slots) - 1
        self._plan = RoutingPlan(np.full((cluster.n_nodes, cluster.n_lms), NOWHERE, dtype=np.int64))
        self._ended: list[Records] = []
        self._arrived = self._done = 0

    async def observe(self) -> Snapshot:
        """Everything known at the end of the last slot."""
        return self._twin.observe()

    async def route(self, plan: RoutingPlan) -> None:
        """Put a routing plan in force for the current slot."""
        self._twin.route(plan)
        self._plan = plan

    async def deploy(self, deployment: Deployment) -> None:
        """Apply a deployment to its node for the current slot."""
        self._twin.deploy(deployment)

    async def advance(self) -> Records:
        """Let the current slot pass and book it; return the requests that ended in it."""
        cluster, slot = self.cluster, self._twin.slot
        arrivals = self._workload.arrivals(slot) if slot < self._slots else Arrivals.empty()
        records = self._twin.advance(arrivals)
        self._ended.append(records)
        self._arrived, self._done = self._arrived + len(arrivals), self._done + len(records)
        epoch = None
        if (slot + 1) % cluster.epoch_slots == 0 or slot == self._last:
            ended = Records.concatenate(self._ended)
            epoch = summarise(ended, cluster.n_lms, cluster.deadline_s, cluster.latency_weight)
            self._ended.clear()
        after, plan = self._twin.observe(), self._plan
        self._book(SlotResult(slot, arrivals, records, after, plan.targets, Counter(), epoch, weights=plan.weights))
        return records

    def close_books(self) -> None:
        """Raise LostRequests unless every request that arrived has ended."""
        if self._arrived != self._done or self._twin.waiting:
            raise LostRequests(
                f"{self._arrived} requests arrived, {self._done} ended and {self._twin.waiting} wait after every "
                "deadline passed."
            )
