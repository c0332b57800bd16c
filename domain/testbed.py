"""The seam between deciding and the world: what the twin, the live cluster and a recording each implement."""

from __future__ import annotations

from typing import Protocol

from domain.cluster import Cluster
from domain.decisions import Deployment, RoutingPlan
from domain.telemetry import Records, Snapshot


class Testbed(Protocol):
    """A cluster that can be watched and told what to do, slot by slot. Whoever decides cannot tell which one it is."""

    @property
    def cluster(self) -> Cluster:
        """What the cluster is."""
        ...

    async def observe(self) -> Snapshot:
        """Everything known at the end of the last slot; asking twice in a slot gives the same."""
        ...

    async def route(self, plan: RoutingPlan) -> None:
        """Put a routing plan in force for the current slot."""
        ...

    async def deploy(self, deployment: Deployment) -> None:
        """Apply a checked deployment to its node for the current slot."""
        ...

    async def advance(self) -> Records:
        """Let the current slot pass; return the requests that ended in it."""
        ...
