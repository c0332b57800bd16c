"""Nodes of the planner: propose, check, repair, fallback, approval, adoption of a macro-policy (tier 1 of P1)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from langgraph.types import interrupt

from domain.decisions import MacroPolicy
from domain.ledger import Outcome, Reason, Role
from graph.gate.passage import PERSON, PREVIOUS, Draft, Kind, check, fall_back, propose, repair, settled_by_rule
from graph.rehearsal.plans import Prepared, by_rule, expect
from graph.slot.deps import Deps
from graph.slot.kinds import MacroPolicyKind, traffic_by_name
from graph.slot.ledger import Ledger, draft_of
from graph.slot.recalling import recall
from graph.slot.reuse import reused
from graph.slot.state import SlotState, SlotUpdate
from memory.engine import MemoryAway
from policies.rehearsal.planner import RehearsalPlanner
from policies.roles import PLANNER, generator

Node = Callable[[SlotState], Awaitable[SlotUpdate]]


class PlanNodes:
    """The planner's nodes of one run."""

    def __init__(self, deps: Deps, ledger: Ledger) -> None:
        """Close over what the nodes share."""
        self._deps = deps
        self._ledger = ledger

    async def _kind(self, state: SlotState) -> Kind[MacroPolicy]:
        deps, cluster = self._deps, self._deps.testbed.cluster
        snapshot = await deps.snapshot(state["slot"])
        last, recalled, candidates = None, None, None
        traffic = traffic_by_name(cluster, state.get("last_traffic", []), cluster.epoch_slots)
        if deps.planner is not None and deps.planner.asker is not None:
            recalled, last = await recall(deps, state["slot"], traffic), deps.last_case
            if deps.rehearsal is not None:
                candidates = deps.rehearsal.told(await self._prepared(state), deps.foresight.totals.factor)
        return MacroPolicyKind(deps, snapshot, traffic, last, recalled, candidates)

    async def _prepared(self, state: SlotState) -> Prepared:
        """Return the rehearsed candidates, the plan in force among them where an agent made it."""
        deps = self._deps
        if deps.rehearsal is None:
            raise RuntimeError("nothing is rehearsed in this run")
        not_by_rule = state.get("macro_by", "").startswith(("agent:", PERSON))
        in_force = deps.policy(state["macro_policy"]) if not_by_rule and state.get("macro_policy") else None
        return await deps.rehearsal.prepare(await deps.snapshot(state["slot"]), in_force)

    async def _rehearsed(self, state: SlotState, kind: Kind[MacroPolicy], draft: Draft) -> SlotUpdate:
        """Rehearse a settled draft where the run does so."""
        if draft.settled and self._deps.rehearsal is not None:
            draft = await self._deps.rehearsal.settle(kind, draft, await self._prepared(state))
        return {"plan_draft": draft.to_json()}

    async def planner(self, state: SlotState) -> SlotUpdate:
        """Let the planner write the macro-policy of the epoch, or take over the one that was written already."""
        deps, slot, filling = self._deps, state["slot"], self._deps.planner
        if filling is None:
            raise RuntimeError("the graph asked for a plan although nobody fills the planner")
        known = self._known(slot)
        if known is not None:
            deps.planned(await deps.snapshot(slot), known.outcome, known.decided_by)
            return {"plan_draft": known.to_json()}
        in_force = state.get("macro_policy")
        if filling.asker is not None and in_force and await self._unmoved(state):
            return {"plan_draft": reused(in_force).to_json()}
        kind = await self._kind(state)
        if filling.asker is not None:
            draft = await propose(kind, filling.asker(slot, None))
        else:
            snapshot = await deps.snapshot(slot)
            draws = generator(deps.seed, PLANNER, slot)
            policy = await asyncio.to_thread(filling.acting.plan, snapshot, deps.history, draws)
            draft = await asyncio.to_thread(settled_by_rule, kind, policy, filling.name)
            if isinstance(filling.acting, RehearsalPlanner):
                draft = by_rule(draft, deps.testbed.cluster, filling.acting)
        return {"plan_draft": draft.to_json()}

    def _known(self, slot: int) -> Draft | None:
        """The plan that an earlier process made for the slot: the ledger's, or the one that a person was shown."""
        entry, drafted = self._deps.decided.get((slot, Role.PLANNER, None)), self._deps.drafted
        if entry is not None:
            return draft_of(entry)
        return None if drafted is None or drafted[0] != slot else Draft.from_json(drafted[1])

    async def check_plan(self, state: SlotState) -> SlotUpdate:
        """Hold the answer against every rule; rehearse what passes."""
        draft = Draft.returned(state["plan_draft"])
        if draft.settled:
            return {}
        kind = await self._kind(state)
        return await self._rehearsed(state, kind, check(kind, draft, self._name()))

    async def repair_plan(self, state: SlotState) -> SlotUpdate:
        """Show the model what its answer broke and ask once more."""
        asker = self._deps.planner.asker if self._deps.planner else None
        draft = Draft.from_json(state["plan_draft"])
        if asker is None:
            return {}
        return {"plan_draft": (await repair(await self._kind(state), draft, asker(state["slot"], None))).to_json()}

    async def fallback_plan(self, state: SlotState) -> SlotUpdate:
        """Let the fallback plan."""
        kind, draft = await self._kind(state), Draft.from_json(state["plan_draft"])
        return await self._rehearsed(state, kind, await asyncio.to_thread(fall_back, kind, draft))

    async def approve_plan(self, state: SlotState) -> SlotUpdate:
        """Wait until a person says yes or no; after a no the policy in force goes on, or the fallback plans."""
        if (state["slot"], Role.PLANNER, None) in self._deps.decided:
            return {}  # an earlier process was told the answer
        draft = Draft.returned(state["plan_draft"])
        answer: Any = interrupt(
            {
                "question": f"Adopt this macro-policy from slot {state['slot']} on?",
                "macro_policy": draft.decision,
                "decided_by": draft.decided_by,
                "in_force": state.get("macro_policy"),
                "rehearsal": draft.rehearsal,
            }
        )
        if answer is True or (isinstance(answer, dict) and answer.get("approve") is True):
            return {}
        kind, in_force = await self._kind(state), state.get("macro_policy")
        previous = [] if not in_force else [("previous", lambda: kind.from_json(in_force))]
        refused = Draft(attempts=draft.attempts, reason=Reason.DISAPPROVED)
        instead = await asyncio.to_thread(fall_back, kind, refused, [*previous, *kind.fallbacks()], draft.decision)
        return await self._rehearsed(state, kind, instead)

    async def adopt_plan(self, state: SlotState) -> SlotUpdate:
        """Put the macro-policy in force and into the ledger."""
        draft = Draft.returned(state["plan_draft"])
        self._deps.policy(draft.decision)  # holds it against the rules
        line = await self._ledger.keep(state["slot"], Role.PLANNER, None, draft)
        epoch = state["slot"] // self._deps.testbed.cluster.epoch_slots
        foresight = self._deps.foresight
        expect(foresight, await self._deps.snapshot(state["slot"]), draft)
        done: SlotUpdate = {
            **({} if foresight.idle else SlotUpdate(foresight=foresight.save())),
            "macro_policy": draft.decision or None,
            "macro_epoch": epoch,
            "plan_draft": draft.to_json() if self._deps.detailed else {},
            "decisions": [line],
        }
        if draft.outcome is Outcome.REUSED or draft.decided_by == PREVIOUS:
            return done  # it is still whose it was
        return {**done, "macro_by": draft.decided_by, "macro_made": -1 if draft.outcome is Outcome.FALLBACK else epoch}

    async def _unmoved(self, state: SlotState) -> bool:
        """True where the plan in force may stand: the last epoch was like the one that it was made on.

        Never where a rule that watches has asked for a new plan: it has seen what no mean of an epoch shows.
        """
        deps, now = self._deps, self._deps.last_case
        if state.get("macro_epoch", -1) < 0 or not state.get("macro_by", "").startswith("agent:"):
            return False  # what is kept counts as the agent's, so it must be
        basis = state.get("macro_made", 0) - 1  # a plan is made on the telemetry of the epoch before
        if deps.reuse is None or now is None or basis < 0 or now.run != deps.run:
            return False
        with contextlib.suppress(MemoryAway):
            cases = await deps.memory.cases(now.testbed, now.epoch - basis + 1, run=deps.run)
            before = next((case for case in cases if case.epoch == basis), None)
            return before is not None and before.epoch < now.epoch and deps.reuse.holds(before, now)
        return False

    def _name(self) -> str:
        return self._deps.planner.name if self._deps.planner else ""
