"""A family that decides every slot beside the one that acts, on the same snapshot, and acts on nothing.

Whatever goes wrong with it must not cost the acting run anything. A slot in which it fails is written into its ledger
as one in which it decided nothing, with the reason, so that a run that goes on after a kill finds it there.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from domain.cluster import Cluster
from domain.decisions import Deployment, MacroPolicy, RoutingPlan
from domain.ledger import Attempt, Decision, Outcome, Reason, Role
from domain.telemetry import Snapshot
from graph.gate.passage import Draft, Kind, decide, settled_by_rule
from graph.rehearsal.drafts import rehearse_deployments, rehearse_routing
from graph.slot.deps import Deps
from graph.slot.kinds import DeploymentKind, MacroPolicyKind, RoutingKind, deployment_of, keep
from graph.slot.ledger import draft_of
from graph.slot.recalling import recall
from memory.engine import MemoryAway
from memory.secrets import Secrets
from policies.roles import DEPLOYER, PLANNER, SCHEDULER, generator
from runtime.runs.playing import check_whole

FAILED = "fallback:failed"
"""What the ledger says of a decision that a shadow did not live to make."""
LONGEST = 300
"""Characters of an error that are kept."""
Made = dict[tuple[Role, str | None], Draft]
"""Role and node to what was decided."""


class ShadowFailedError(Exception):
    """A shadow could not decide a slot; the text says why."""


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


class Shadow:
    """One family that decides beside the acting one."""

    def __init__(self, deps: Deps) -> None:
        """Decide by `deps`, whose testbed is looked at and never told anything."""
        self.deps = deps
        self._macro: dict[str, Any] | None = None
        self._by = ""
        self._epoch = -1

    async def decide(self, snapshot: Snapshot, acting: Deps) -> Decisions:
        """Decide slot `snapshot.slot` with what the acting family knows of past epochs.

        Raises:
            ShadowFailedError: something went wrong; the ledger says what.
            LedgerGap: a slot that has passed is played again, and the ledger does not hold all of it.
            MemoryAway: the memory cannot be read for such a slot, or does not take what was decided.
        """
        deps, slot, made = self.deps, snapshot.slot, Made()
        deps.seen, deps.history, deps.last_case = snapshot, acting.history, acting.last_case
        known = await self._known(slot, acting.replaying)
        try:
            return await self._decide(snapshot, known, made)
        except MemoryAway:
            raise  # that is no fault of who decides: the acting run would stop for it, too
        except Exception as error:
            failed = _failed(error)
            roles = [*([Role.PLANNER] if self._due(slot) else []), Role.SCHEDULER]
            nodes = [(Role.DEPLOYER, node.name) for node in deps.testbed.cluster.nodes]
            for key in [*((role, None) for role in roles), *nodes]:
                made.setdefault(key, failed)
            raise ShadowFailedError(failed.attempts[0].error) from error
        finally:
            await self._keep(slot, known, made)

    async def _keep(self, slot: int, known: Made, made: Made) -> None:
        """Write what was made and is not known to be written."""
        new = {key: draft for key, draft in made.items() if key not in known}
        entries = [draft.entry(self.deps.run, slot, role, node) for (role, node), draft in new.items()]
        await self.deps.memory.put_decisions(entries)
        known.update(new)

    async def _decide(self, snapshot: Snapshot, known: Made, made: Made) -> Decisions:
        """Decide, and note every decision in `made` as soon as there is one."""
        deps, slot = self.deps, snapshot.slot
        if await deps.watched(snapshot):
            self._epoch = -1
        if self._due(slot):
            plan = known.get((Role.PLANNER, None))
            if plan is not None:
                deps.planned(snapshot, plan.outcome, plan.decided_by)
            plan = _alive(plan) or await self._plan(snapshot)
            made[Role.PLANNER, None] = plan
            await self._keep(slot, known, made)  # at once: an answer that was paid for is never asked for again
            self._macro, self._by, self._epoch = plan.decision, plan.decided_by, self._epoch_of(slot)
        routing = _alive(known.get((Role.SCHEDULER, None))) or await self._route(snapshot)
        made[Role.SCHEDULER, None] = routing
        await self._keep(slot, known, made)
        nodes = deps.testbed.cluster.nodes
        asked = (self._deploy(snapshot, n, known.get((Role.DEPLOYER, node.name))) for n, node in enumerate(nodes))
        drafts = _all(await asyncio.gather(*asked, return_exceptions=True))  # none is left behind, still asking
        drafts = await self._rehearsed(snapshot, routing, drafts)
        made.update({(Role.DEPLOYER, node.name): draft for node, draft in zip(nodes, drafts, strict=True)})
        return self._decisions(routing, drafts)

    def _epoch_of(self, slot: int) -> int:
        return slot // self.deps.testbed.cluster.epoch_slots

    def _due(self, slot: int) -> bool:
        """True where a macro-policy has to be made."""
        return self.deps.planner is not None and self._epoch_of(slot) != self._epoch

    async def _known(self, slot: int, passed: bool) -> Made:
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
            RoutingPlan.from_json(cluster, routing.decision) if routing.decision else None,
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
            draft = await decide(kind, filling.asker(snapshot.slot, None), filling.name, apart=True)
            return draft if deps.rehearsal is None else await deps.rehearsal.settle(kind, draft, prepared)
        draws = generator(deps.seed, PLANNER, snapshot.slot)
        policy = await asyncio.to_thread(filling.acting.plan, snapshot, deps.history, draws)
        return await asyncio.to_thread(settled_by_rule, kind, policy, filling.name)

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
        if (own := _alive(known)) is not None:
            return own
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


def _all(drafts: Sequence[Draft | BaseException]) -> list[Draft]:
    """Return them; raises the first error among them."""
    found = list[Draft]()
    for draft in drafts:
        if isinstance(draft, BaseException):
            raise draft
        found.append(draft)
    return found


def _failed(error: Exception) -> Draft:
    if isinstance(error, ShadowFailedError):
        text = str(error)
    else:
        # Struck before it is cut: of a key at the end of the cut, half would stay.
        text = Secrets.of(os.environ).strike_parts(f"{Reason.INTERNAL}: {type(error).__name__}: {error}")[:LONGEST]
    draft = Draft(attempts=(Attempt((), None, error=text),), decision={}, outcome=Outcome.FALLBACK)
    return draft._replace(decided_by=FAILED, reason=Reason.INTERNAL)


def _alive(known: Draft | None) -> Draft | None:
    """Return a decision that an earlier process made. Raises ShadowFailedError where it failed to make it."""
    if known is not None and known.decided_by == FAILED:
        raise ShadowFailedError(known.attempts[0].error or "")
    return known
