"""A testbed beside which shadows decide while its slots pass, and what they are compared with.

What is recorded per slot: the share of routes and of deployments that differ from the acting ones, and the predicted
regret of the acting decisions: their J minus that of the shadow's. Both come from a twin that is rebuilt from the
snapshot, in which each set of decisions stays in force while arrivals like the last slots' come and until every
request has ended. A prediction says what the decisions are worth by themselves; nobody corrects them in it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.cluster import Cluster
from domain.decisions import Deployment, RoutingPlan
from domain.objective import summarise
from domain.telemetry import Records, Snapshot
from domain.testbed import Testbed
from domain.workload import Arrivals
from graph.slot.deps import Deps
from memory.engine import MemoryAway
from runtime.results.lines import Write
from runtime.runs.shadow import Decisions, Shadow, ShadowFailedError
from tools.traffic import SlotTraffic, come_again
from twin.reconstruct import reconstruct

HORIZON = 4
"""Slots with arrivals in a prediction: enough for a pod to start and work."""


def predict(cluster: Cluster, snapshot: Snapshot, decisions: Decisions, arrivals: Arrivals) -> float:
    """J of P1-10 where these decisions stay in force, over all that waits or arrives, each to its end."""
    twin, parts = reconstruct(cluster, snapshot), list[Records]()
    if decisions.routes is not None:
        twin.route(decisions.routes)
    for deployment in decisions.deployments:
        twin.deploy(deployment)
    for k in range(HORIZON + math.ceil(cluster.deadline_s / cluster.slot_s) + 1):
        if k >= HORIZON and not twin.waiting:
            break
        start = (snapshot.slot + k) * cluster.slot_s
        parts.append(twin.advance(arrivals.between(start, start + cluster.slot_s)))
    records = Records.concatenate(parts)
    return summarise(records, cluster.n_lms, cluster.deadline_s, cluster.latency_weight).objective


@dataclass
class ShadowTally:
    """What one shadow came to."""

    slots: int = 0
    """Compared."""
    failed: int = 0
    """Slots in which the shadow could not decide."""
    why: str = ""
    """The first time."""
    routes: int = 0
    """Pairs of origin and LM that were decided."""
    routes_differ: int = 0
    deployments: int = 0
    deployments_differ: int = 0
    regrets: list[float] = field(default_factory=list)


class Shadowed:
    """A testbed beside which shadows decide while its slots pass."""

    def __init__(self, testbed: Testbed, shadows: Sequence[Shadow], write: Write) -> None:
        """Write one line per slot and shadow."""
        self._inner, self._shadows, self._write = testbed, shadows, write
        self._routes: RoutingPlan | None = None
        self._deployments: list[Deployment] = []
        self._recent: deque[SlotTraffic] = deque(maxlen=HORIZON)
        self.acting: Deps | None = None
        """Of the family that acts: set before the first slot."""
        self.tallies = {shadow.deps.family: ShadowTally() for shadow in shadows}

    @property
    def cluster(self) -> Cluster:
        """What the cluster is."""
        return self._inner.cluster

    async def observe(self) -> Snapshot:
        """Everything known at the end of the last slot."""
        return await self._inner.observe()

    async def route(self, plan: RoutingPlan) -> None:
        """Put a routing plan in force."""
        self._routes = plan
        await self._inner.route(plan)

    async def deploy(self, deployment: Deployment) -> None:
        """Apply a deployment."""
        self._deployments.append(deployment)
        await self._inner.deploy(deployment)

    async def advance(self) -> Records:
        """Let the slot pass; the shadows decide it meanwhile and hold nothing up but its end."""
        if self.acting is None:
            raise RuntimeError("nobody acts beside the shadows")
        before, acting = await self._inner.observe(), Decisions(self._routes, tuple(self._deployments))
        self._routes, self._deployments = None, []
        deciding = asyncio.gather(*(self._decided(shadow, before) for shadow in self._shadows))
        records, decided = await asyncio.gather(self._inner.advance(), deciding)
        lines = await asyncio.to_thread(self._compare, before, acting, decided)
        for line in lines:
            self._write(line)
        after = await self._inner.observe()
        self._recent.append(SlotTraffic(after.arrived_requests, after.arrived_prompts))
        return records

    def notes(self) -> list[str]:
        """Which shadows failed, each in one sentence."""
        return [
            f"The shadow {family} could not decide {own.failed} of {own.failed + own.slots} slots; first in {own.why}"
            for family, own in self.tallies.items()
            if own.failed
        ]

    async def _decided(self, shadow: Shadow, before: Snapshot) -> Decisions | str:
        """Let a shadow decide; why it could not, where it fails: what acts must not suffer from who only watches."""
        assert self.acting is not None
        try:
            return await shadow.decide(before, self.acting)
        except MemoryAway:
            raise
        except Exception as error:
            if self.acting.replaying and not isinstance(error, ShadowFailedError):
                raise  # the run goes on from a ledger that is not whole
            return str(error) or type(error).__name__

    def _compare(self, before: Snapshot, acting: Decisions, decided: Sequence[Decisions | str]) -> list[dict[str, Any]]:
        """Count what differs and predict what it is worth; return one line per shadow."""
        cluster, arrivals, own = self.cluster, None, math.nan
        if self._recent:
            arrivals = come_again(self._recent, cluster.slot_s, before.slot, HORIZON)
            own = predict(cluster, before, acting, arrivals)
        deployed, lines = acting.over(before, cluster), list[dict[str, Any]]()
        for shadow, other in zip(self._shadows, decided, strict=True):
            tally = self.tallies[shadow.deps.family]
            line: dict[str, Any] = {
                "slot": before.slot,
                "acting": self.acting.family if self.acting else None,
                "shadow": shadow.deps.family,
                "routes_differ": None,
                "deployments_differ": None,
                "predicted_objective": None,
                "shadow_predicted_objective": None,
                "predicted_regret": None,
            }
            lines.append(line)
            if isinstance(other, str):
                line["failed"] = other
                tally.failed += 1
                tally.why = tally.why or f"slot {before.slot}: {other}"
                continue
            pairs = zip(deployed, other.over(before, cluster), strict=True)
            routes = _differing(acting.routes, other.routes)
            nodes = sum(a != b for a, b in pairs)
            tally.slots += 1
            tally.routes += cluster.n_nodes * cluster.n_lms
            tally.routes_differ += routes
            tally.deployments += cluster.n_nodes
            tally.deployments_differ += nodes
            line |= {
                "routes_differ": routes / (cluster.n_nodes * cluster.n_lms),
                "deployments_differ": nodes / cluster.n_nodes,
            }
            if arrivals is not None:
                theirs = predict(cluster, before, other, arrivals)
                tally.regrets.append(own - theirs)
                line |= {
                    "predicted_objective": own,
                    "shadow_predicted_objective": theirs,
                    "predicted_regret": own - theirs,
                }
        return lines


def _differing(a: RoutingPlan | None, b: RoutingPlan | None) -> int:
    if a is None or b is None:
        told = a if b is None else b
        return 0 if told is None else int(told.targets.size)
    return int(a.differing(b).sum())
