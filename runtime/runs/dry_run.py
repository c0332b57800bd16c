"""A testbed that is never told what was decided: everything is decided, nothing is acted on, all of it is written down.

The world goes on as it would without us: what runs keeps running, and the routes that were in force stay in force.
"""

from __future__ import annotations

from domain.cluster import Cluster
from domain.decisions import Deployment, RoutingPlan
from domain.telemetry import Records, Snapshot
from domain.testbed import Testbed
from graph.slot.kinds import keep
from runtime.results.lines import Write

DRY_RUN = "dry-run.jsonl"
"""Name of the file in the run folder."""


class DryRun:
    """Implements `domain.testbed.Testbed` over another one, and keeps decisions from it."""

    def __init__(self, testbed: Testbed, write: Write) -> None:
        """Write one line per slot: the routes, and the deployments that would have changed something."""
        self._inner, self._write = testbed, write
        self._routes: RoutingPlan | None = None
        self._deployments: list[Deployment] = []
        self.slots = self.deployments = self.moved = 0
        """Slots that passed; deployments that would have changed a node; routes that would have changed."""
        self._before: RoutingPlan | None = None

    @property
    def cluster(self) -> Cluster:
        """What the cluster is."""
        return self._inner.cluster

    async def observe(self) -> Snapshot:
        """Everything known at the end of the last slot."""
        return await self._inner.observe()

    async def route(self, plan: RoutingPlan) -> None:
        """Note a routing plan."""
        self._routes = plan

    async def deploy(self, deployment: Deployment) -> None:
        """Note a deployment."""
        self._deployments.append(deployment)

    async def advance(self) -> Records:
        """Write down what the slot would have got, and let it pass."""
        snapshot, cluster = await self._inner.observe(), self.cluster
        changed = [d for d in self._deployments if d != keep(snapshot, d.node)]
        self._write(
            {
                "slot": snapshot.slot,
                "routes": None if self._routes is None else self._routes.to_json(cluster),
                "deployments": {cluster.nodes[d.node].name: d.to_json(cluster) for d in changed},
            }
        )
        self.slots += 1
        self.deployments += len(changed)
        if self._routes is not None:
            self.moved += int(self._routes.differing(self._before).sum())
            self._before = self._routes
        self._routes, self._deployments = None, []
        return await self._inner.advance()

    def note(self) -> str:
        """What was not done, in one sentence."""
        return (
            f"Dry run: nothing was acted on. In {self.slots} slots {self.deployments} deployments would have changed "
            f"a node and {self.moved} routes would have changed; {DRY_RUN} says which."
        )
