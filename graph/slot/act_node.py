"""The node that acts: what a person changed, what is rehearsed together, and then the door, for each decision again.

All of a slot's decisions are checked before the first of them is carried out, so that one that breaks a rule leaves the
world as it is.
"""

from __future__ import annotations

from typing import Any

from domain.decisions import Deployment, RoutingPlan
from domain.ledger import Outcome, Role
from domain.telemetry import Snapshot
from graph.gate.door import Checked, act, checked
from graph.gate.passage import PERSON, Draft
from graph.rehearsal.drafts import rehearse_deployments
from graph.slot.deps import Deps
from graph.slot.edits import Edits, changed_plan, edits_of
from graph.slot.kinds import DeploymentKind, RoutingKind
from graph.slot.ledger import Ledger
from graph.slot.state import SlotState, SlotUpdate


class ActNode:
    """Carries out the decisions of the slots of one run."""

    def __init__(self, deps: Deps, ledger: Ledger, editable: bool) -> None:
        """Close over what the nodes share; `editable`: look for what a person changed."""
        self._deps, self._ledger, self._editable = deps, ledger, editable

    async def act(self, state: SlotState) -> SlotUpdate:
        """Hand the deployments to the testbed, and routes that were changed; a node without one stays as it is.

        Raises:
            BrokenRules: a person's change, or what a checkpoint brought back, breaks a rule; nothing has been done.
        """
        deps, snapshot = self._deps, await self._deps.snapshot(state["slot"])
        edits = edits_of(deps, state, snapshot) if self._editable else Edits(changed_plan(deps, state))
        routes = self._routes(snapshot, state, edits)
        passed = {n: self._deployment(snapshot, state, n, own, True) for n, own in edits.deployments.items() if own}
        done = await self._edited(state, edits)
        if routes is not None:
            deps.routed = routes.decision
        rehearsed = await self._rehearsed(snapshot, state, edits)
        for entry in [*state["deployments"], *(rehearsed.get("deployments") or [])]:
            n, own = entry["node"], entry["allocations"]
            if own and n not in edits.deployments:
                passed[n] = self._deployment(snapshot, state, n, own)
        if routes is not None:
            await act(deps.testbed, routes)
        for n in sorted(passed):
            await act(deps.testbed, passed[n])
        lines = [*(done.get("decisions") or []), *(rehearsed.get("decisions") or [])]
        done = {**done, **rehearsed, "decisions": lines}
        # A large cluster's would make each checkpoint long to write and to read; the ledger has them.
        return done if deps.detailed else {**done, "deployments": None}

    def _deployment(
        self, snapshot: Snapshot, state: SlotState, n: int, data: dict[str, Any], by_person: bool = False
    ) -> Checked[Deployment]:
        kind = DeploymentKind(self._deps, snapshot, n, state.get("macro_policy"), by_person)
        return checked(kind, data, f"The deployment of {kind.node}")

    def _routes(self, snapshot: Snapshot, state: SlotState, edits: Edits) -> Checked[RoutingPlan] | None:
        """Return the slot's routes where a person changed them, or another process sent them to another twin."""
        deps, routing = self._deps, state["routing"]
        if edits.routing is None and (deps.routed is not None or not routing):
            return None
        return checked(RoutingKind(deps, snapshot, state.get("macro_policy")), routing, "The routing plan")

    async def _edited(self, state: SlotState, edits: Edits) -> SlotUpdate:
        """Write a person's changes into the ledger."""
        deps = self._deps
        entries = edits.entries(deps.run, state["slot"], deps.testbed.cluster)
        if not entries:
            return {}
        deps.policy(edits.plan)  # holds it against the rules
        done: SlotUpdate = {"decisions": await self._ledger.keep_all(entries)}
        if edits.plan is None:
            return done
        draft = Draft(decision=edits.plan, outcome=Outcome.PERSON, decided_by=PERSON)
        return {**done, "macro_by": PERSON, "plan_draft": draft.to_json()}

    async def _rehearsed(self, snapshot: Snapshot, state: SlotState, edits: Edits) -> SlotUpdate:
        """Rehearse what agents proposed beside what a person decided, and write what comes of it into the ledger."""
        deps, macro = self._deps, state.get("macro_policy")
        proposals = state.get("proposals") or []
        drafts = {p["node"]: Draft.returned(p["draft"]) for p in proposals if p["node"] not in edits.deployments}
        if not proposals:
            return {}
        cluster, slot, done = deps.testbed.cluster, state["slot"], drafts
        if deps.slot_rehearsal is not None:
            given = {n: Draft(decision=own, outcome=Outcome.PERSON) for n, own in edits.deployments.items()}
            kinds = {n: DeploymentKind(deps, snapshot, n, macro) for n in (*drafts, *given)}
            routes = RoutingPlan.from_json(cluster, state["routing"]) if deps.routed is None else deps.routed
            done = await rehearse_deployments(
                deps.slot_rehearsal, kinds, {**drafts, **given}, snapshot, deps.policy(macro), routes
            )
        entries = {n: done[n].entry(deps.run, slot, Role.DEPLOYER, cluster.nodes[n].name) for n in sorted(drafts)}
        return {
            "proposals": None,
            "decisions": await self._ledger.keep_all(list(entries.values())),
            "deployments": [{"node": n, "allocations": entry.decision} for n, entry in entries.items()],
        }
