"""Nodes of the scheduler: propose, check, repair, fallback and dispatch of a routing plan (tier 2 of P1)."""

from __future__ import annotations

from domain.decisions import RoutingPlan
from domain.ledger import Role
from graph.gate.door import act, checked
from graph.gate.passage import Draft, Kind, check, fall_back, propose, repair, settled_by_rule
from graph.rehearsal.drafts import rehearse_routing
from graph.slot.deps import Deps
from graph.slot.kinds import RoutingKind
from graph.slot.ledger import Ledger, draft_of
from graph.slot.state import SlotState, SlotUpdate
from policies.roles import SCHEDULER, generator


class ScheduleNodes:
    """The scheduler's nodes of one run."""

    def __init__(self, deps: Deps, ledger: Ledger) -> None:
        """Close over what the nodes share."""
        self._deps = deps
        self._ledger = ledger

    async def _kind(self, state: SlotState) -> Kind[RoutingPlan]:
        snapshot = await self._deps.snapshot(state["slot"])
        return RoutingKind(self._deps, snapshot, state.get("macro_policy"))

    async def scheduler(self, state: SlotState) -> SlotUpdate:
        """Let the scheduler write the routing plan, or take over the one that was written already."""
        deps, slot, filling = self._deps, state["slot"], self._deps.scheduler
        known = deps.decided.get((slot, Role.SCHEDULER, None))
        if known is not None:
            return {"routing_draft": draft_of(known).to_json()}
        kind = await self._kind(state)
        if filling.asker is not None:
            draft = await propose(kind, filling.asker(slot, None))
        else:
            policy = deps.policy(state.get("macro_policy"))
            rng = generator(deps.seed, SCHEDULER, slot)
            plan = filling.acting.schedule(await deps.snapshot(slot), policy, rng)
            draft = settled_by_rule(kind, plan, filling.name)
        return {"routing_draft": draft.to_json()}

    async def check_routing(self, state: SlotState) -> SlotUpdate:
        """Hold the answer against every rule; rehearse what passes."""
        deps, draft = self._deps, Draft.returned(state["routing_draft"])
        if draft.settled:
            return {}
        kind = await self._kind(state)
        draft = check(kind, draft, deps.scheduler.name)
        if deps.slot_rehearsal is not None:
            snapshot, policy = await deps.snapshot(state["slot"]), deps.policy(state.get("macro_policy"))
            draft = await rehearse_routing(deps.slot_rehearsal, kind, draft, snapshot, policy)
        return {"routing_draft": draft.to_json()}

    async def repair_routing(self, state: SlotState) -> SlotUpdate:
        """Show the model what its answer broke and ask once more."""
        asker = self._deps.scheduler.asker
        draft = Draft.from_json(state["routing_draft"])
        if asker is None:
            return {}
        return {"routing_draft": (await repair(await self._kind(state), draft, asker(state["slot"], None))).to_json()}

    async def fallback_routing(self, state: SlotState) -> SlotUpdate:
        """Let the fallback schedule."""
        return {"routing_draft": fall_back(await self._kind(state), Draft.from_json(state["routing_draft"])).to_json()}

    async def dispatch(self, state: SlotState) -> SlotUpdate:
        """Send the plan to the node services and keep it in the ledger."""
        deps, draft, passed = self._deps, Draft.returned(state["routing_draft"]), None
        if draft.decision is None:
            raise RuntimeError("a routing plan left the gate undecided")
        if draft.decision:  # else the routes in force stay
            passed = checked(await self._kind(state), draft.decision, "The routing plan")
        line = await self._ledger.keep(state["slot"], Role.SCHEDULER, None, draft)
        deps.routed = None if passed is None else passed.decision
        if passed is not None:
            await act(deps.testbed, passed)
        if deps.detailed:
            return {"routing": draft.decision, "decisions": [line]}
        return {"routing": {}, "routing_draft": {}, "decisions": [line]}
