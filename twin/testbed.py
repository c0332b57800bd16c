"""The twin as a testbed: a twin plus the workload that arrives in it."""

from __future__ import annotations

from domain.cluster import Cluster
from domain.decisions import Deployment, RoutingPlan
from domain.telemetry import Records, Snapshot
from domain.workload import Arrivals, Workload
from twin.twin import Twin


class TwinTestbed:
    """Implements `domain.testbed.Testbed` in simulated time; after its workload ends, slots pass without arrivals."""

    def __init__(self, twin: Twin, workload: Workload, slots: int | None = None) -> None:
        """Let `workload` arrive in `twin` for the first `slots` slots; None: as long as the workload lasts."""
        self.twin = twin
        self._workload = workload
        limits = [limit for limit in (slots, workload.slots) if limit is not None]
        self._slots = min(limits) if limits else None

    @property
    def cluster(self) -> Cluster:
        """What the cluster is."""
        return self.twin.cluster

    async def observe(self) -> Snapshot:
        """Everything known at the end of the last slot."""
        return self.twin.observe()

    async def route(self, plan: RoutingPlan) -> None:
        """Put a routing plan in force for the current slot."""
        self.twin.route(plan)

    async def deploy(self, deployment: Deployment) -> None:
        """Apply a deployment to its node for the current slot."""
        self.twin.deploy(deployment)

    async def advance(self) -> Records:
        """Let the current slot pass; return the requests that ended in it."""
        slot = self.twin.slot
        over = self._slots is not None and slot >= self._slots
        return self.twin.advance(Arrivals.empty() if over else self._workload.arrivals(slot))
