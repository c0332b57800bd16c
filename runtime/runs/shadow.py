"""Families that decide every slot beside the one that acts, on the same snapshot, and act on nothing.

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

import numpy as np

from domain.cluster import Cluster
from domain.decisions import Deployment, MacroPolicy, RoutingPlan
from domain.ledger import Decision, Outcome, Role
from domain.objective import summarise
from domain.telemetry import Records, Snapshot
from domain.testbed import Testbed
from domain.workload import Arrivals
from graph.gate.passage import Draft, Kind, decide, settled_by_rule
from graph.rehearsal.drafts import rehearse_deployments, rehearse_routing
from graph.slot.deps import Deps
from graph.slot.kinds import DeploymentKind, MacroPolicyKind, RoutingKind, deployment_of, keep
from graph.slot.ledger import draft_of
from graph.slot.recalling import recall
from memory.engine import MemoryAway
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator
from runtime.results.lines import Write
from runtime.runs.playing import check_whole
from tools.traffic import SlotTraffic, come_again
from twin.reconstruct import reconstruct

HORIZON = 4
"""Slots with arrivals in a prediction: enough for a pod to start and work."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What somebody decided in one slot."""

    routes: RoutingPlan | None
    deployments: tuple[Deployment, ...]
    """At most one per node; a node without one stays as it is."""

    def over(self, snapshot: Snapshot, cluster: Cluster) -> list[Deployment]:
        """One deployment per node, with what the others keep."""
        told = {d.node: d for d in self.deployments}
        return [told.get(n, keep(snapshot, n)) for n in range(cluster.n_nodes)]


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


class Shadow:
    """One family that decides beside the acting one."""

    def __init__(self, deps: Deps) -> None:
        """Decide by `deps`, whose testbed is looked at and never told anything."""
        self.deps = deps
        self._macro: dict[str, Any] | None = None
        self._by = ""
        self._epoch = -1

    async def decide(self, snapshot: Snapshot, acting: Deps) -> Decisions:
        """Decide slot `snapshot.slot` with what the acting family knows of past epochs."""
        deps, slot = self.deps, snapshot.slot
        deps.seen, deps.history, deps.last_case = snapshot, acting.history, acting.last_case
        known = await self._known(slot, acting.replaying)
        moved = deps.watch(snapshot)
        made: list[tuple[Role, str | None, Draft]] = []
        epoch = slot // deps.testbed.cluster.epoch_slots
        if deps.planner is not None and (moved or epoch != self._epoch):
            plan = known.get((Role.PLANNER, None))
            if plan is None:
                plan = await self._plan(snapshot)
            else:
                deps.planned(snapshot, plan.outcome, plan.decided_by)
            made.append((Role.PLANNER, None, plan))
            self._macro, self._by, self._epoch = plan.decision, plan.decided_by, epoch
        routing = known.get((Role.SCHEDULER, None)) or await self._route(snapshot)
        made.append((Role.SCHEDULER, None, routing))
        nodes = deps.testbed.cluster.nodes
        drafts = await asyncio.gather(
            *(self._deploy(snapshot, n, known.get((Role.DEPLOYER, node.name))) for n, node in enumerate(nodes))
        )
        drafts = await self._rehearsed(snapshot, routing, drafts)
        made += [(Role.DEPLOYER, node.name, draft) for node, draft in zip(nodes, drafts, strict=True)]
        entries = [draft.entry(deps.run, slot, role, node) for role, node, draft in made]
        await deps.memory.put_decisions([e for e in entries if (e.role, e.node) not in known])
        return self._decisions(routing, drafts)

    async def _known(self, slot: int, passed: bool) -> dict[tuple[Role, str | None], Draft]:
        """What the ledger holds of the slot; LedgerGap where the slot has `passed` and something is missing."""
        deps, found = self.deps, list[Decision]()
        try:
            found = await deps.memory.decisions(deps.run, slot)
        except MemoryAway:
            if passed:
                raise
        if passed:
            check_whole(deps.testbed.cluster, slot, found, planned=deps.planner is not None)
        return {(d.role, d.node): draft_of(d) for d in found}

    def _decisions(self, routing: Draft, drafts: Sequence[Draft]) -> Decisions:
        cluster = self.deps.testbed.cluster
        if routing.decision is None:
            raise RuntimeError("a shadow's routing plan left the gate undecided")
        return Decisions(
            RoutingPlan.from_json(cluster, routing.decision),
            tuple(deployment_of(cluster, n, draft.decision) for n, draft in enumerate(drafts) if draft.decision),
        )

    async def _plan(self, snapshot: Snapshot) -> Draft:
        deps, filling, recalled, candidates = self.deps, self.deps.planner, None, None
        assert filling is not None
        last = deps.last_case
        traffic = last.traffic if last is not None else {}
        if filling.asker is not None:
            recalled = await recall(deps, snapshot.slot, traffic)
            if deps.rehearsal is not None:
                in_force = self._policy if self._by.startswith("agent:") else None
                prepared = await deps.rehearsal.prepare(snapshot, in_force)
                candidates = deps.rehearsal.told(prepared, 1.0)  # nothing comes of a shadow's plans
        kind = MacroPolicyKind(deps, snapshot, traffic, last, recalled, candidates)
        if filling.asker is not None:
            draft = await decide(kind, filling.asker(snapshot.slot, None), filling.name)
            return draft if deps.rehearsal is None else await deps.rehearsal.settle(kind, draft, prepared)
        policy = filling.acting.plan(snapshot, deps.history, generator(deps.seed, PLANNER, snapshot.slot))
        return settled_by_rule(kind, policy, filling.name)

    async def _route(self, snapshot: Snapshot) -> Draft:
        deps, filling = self.deps, self.deps.scheduler
        kind: Kind[RoutingPlan] = RoutingKind(deps, snapshot, self._macro)
        if filling.asker is not None:
            draft = await decide(kind, filling.asker(snapshot.slot, None), filling.name)
            if deps.slot_rehearsal is None:
                return draft
            return await rehearse_routing(deps.slot_rehearsal, kind, draft, snapshot, self._policy)
        rng = generator(deps.seed, SCHEDULER, snapshot.slot)
        return settled_by_rule(kind, filling.acting.schedule(snapshot, self._policy, rng), filling.name)

    async def _deploy(self, snapshot: Snapshot, n: int, known: Draft | None) -> Draft:
        deps, filling = self.deps, self.deps.deployer
        if known is not None:
            return known
        kind = DeploymentKind(deps, snapshot, n, self._macro)
        if filling.asker is not None:
            name = deps.testbed.cluster.nodes[n].name
            return await decide(kind, filling.asker(snapshot.slot, name), filling.name)
        rng = generator(deps.seed, DEPLOYER, snapshot.slot, n)
        decision = filling.acting.deploy(snapshot, n, self._policy, rng)
        if decision is None:
            return Draft(decision={}, outcome=Outcome.RULE, decided_by=f"rule:{filling.name}")
        return settled_by_rule(kind, decision, filling.name)

    async def _rehearsed(self, snapshot: Snapshot, routing: Draft, drafts: Sequence[Draft]) -> list[Draft]:
        """Rehearse what agents want to deploy, all nodes together."""
        deps = self.deps
        if deps.slot_rehearsal is None or routing.decision is None:
            return list(drafts)
        kinds = {n: DeploymentKind(deps, snapshot, n, self._macro) for n in range(len(drafts))}
        routes = RoutingPlan.from_json(deps.testbed.cluster, routing.decision)
        by_node = dict(enumerate(drafts))
        done = await rehearse_deployments(deps.slot_rehearsal, kinds, by_node, snapshot, self._policy, routes)
        return [done[n] for n in sorted(done)]

    @property
    def _policy(self) -> MacroPolicy:
        return self.deps.policy(self._macro)


@dataclass
class ShadowTally:
    """What one shadow came to."""

    slots: int = 0
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
        deciding = asyncio.gather(*(shadow.decide(before, self.acting) for shadow in self._shadows))
        records, decided = await asyncio.gather(self._inner.advance(), deciding)
        self._compare(before, acting, decided)
        after = await self._inner.observe()
        self._recent.append(SlotTraffic(after.arrived_requests, after.arrived_prompts))
        return records

    def _compare(self, before: Snapshot, acting: Decisions, decided: Sequence[Decisions]) -> None:
        cluster, arrivals, own = self.cluster, None, math.nan
        if self._recent:
            arrivals = come_again(self._recent, cluster.slot_s, before.slot, HORIZON)
            own = predict(cluster, before, acting, arrivals)
        deployed = acting.over(before, cluster)
        for shadow, other in zip(self._shadows, decided, strict=True):
            tally = self.tallies[shadow.deps.family]
            pairs = zip(deployed, other.over(before, cluster), strict=True)
            routes = _differing(acting.routes, other.routes)
            nodes = sum(a != b for a, b in pairs)
            tally.slots += 1
            tally.routes += cluster.n_nodes * cluster.n_lms
            tally.routes_differ += routes
            tally.deployments += cluster.n_nodes
            tally.deployments_differ += nodes
            line: dict[str, Any] = {
                "slot": before.slot,
                "acting": self.acting.family if self.acting else None,
                "shadow": shadow.deps.family,
                "routes_differ": routes / (cluster.n_nodes * cluster.n_lms),
                "deployments_differ": nodes / cluster.n_nodes,
                "predicted_objective": None,
                "shadow_predicted_objective": None,
                "predicted_regret": None,
            }
            if arrivals is not None:
                theirs = predict(cluster, before, other, arrivals)
                tally.regrets.append(own - theirs)
                line |= {
                    "predicted_objective": own,
                    "shadow_predicted_objective": theirs,
                    "predicted_regret": own - theirs,
                }
            self._write(line)


def _differing(a: RoutingPlan | None, b: RoutingPlan | None) -> int:
    if a is None or b is None:
        told = a if b is None else b
        return 0 if told is None else int(told.targets.size)
    return int(np.not_equal(a.targets, b.targets).sum())
