"""Nodes of the deployers: one task per node, or per shard of nodes."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from langgraph.types import Send

from domain.ledger import NOTHING, Outcome, Reason, Role
from domain.telemetry import Snapshot
from graph.gate.passage import Draft, decide, settled_by_rule
from graph.rehearsal.drafts import not_rehearsed
from graph.slot.deps import Deps
from graph.slot.kinds import DeploymentKind
from graph.slot.ledger import Ledger, draft_of
from graph.slot.state import DeployerTask, SlotState, SlotUpdate
from policies.roles import DEPLOYER, generator


class DeployNodes:
    """The deployers' nodes of one run."""

    def __init__(self, deps: Deps, ledger: Ledger) -> None:
        """Close over what the nodes share."""
        self._deps = deps
        self._ledger = ledger

    def fan_out(self, state: SlotState) -> list[Send]:
        """One task per node; shards past the size where tasks cost more than they show."""
        gate, count = self._deps.gate, self._deps.testbed.cluster.n_nodes
        size = 1 if count <= gate.shard_above else gate.shard_nodes
        macro = state.get("macro_policy")
        tasks = [
            DeployerTask(slot=state["slot"], nodes=list(range(n, min(n + size, count))), macro_policy=macro)
            for n in range(0, count, size)
        ]
        return [Send("deployer", task) for task in tasks]

    async def deployer(self, state: DeployerTask) -> SlotUpdate:
        """Decide for the nodes of the task; a node whose agent fails costs the others nothing."""
        snapshot = await self._deps.snapshot(state["slot"])
        first, *others = [self._deploy(snapshot, n, state["macro_policy"]) for n in state["nodes"]]
        drafts = [await first] if not others else await asyncio.gather(first, *others)
        if self._deps.slot_rehearsal is not None and self._deps.deployer.asker is not None:
            if self._deps.slot_rehearsal.futures:
                pairs = zip(state["nodes"], drafts, strict=True)
                return {"proposals": [{"node": n, "draft": draft.to_json()} for n, draft in pairs]}
            drafts = [not_rehearsed(draft) for draft in drafts]
        names = [self._deps.testbed.cluster.nodes[n].name for n in state["nodes"]]
        entries = [
            draft.entry(self._deps.run, snapshot.slot, Role.DEPLOYER, name)
            for name, draft in zip(names, drafts, strict=True)
        ]
        return {
            "decisions": await self._ledger.keep_all(entries),
            "deployments": [
                {"node": n, "allocations": entry.decision} for n, entry in zip(state["nodes"], entries, strict=True)
            ],
        }

    async def _deploy(self, snapshot: Snapshot, n: int, macro: dict[str, Any] | None) -> Draft:
        deps, filling = self._deps, self._deps.deployer
        cluster, slot = deps.testbed.cluster, snapshot.slot
        name = cluster.nodes[n].name
        known = deps.decided.get((slot, Role.DEPLOYER, name))
        if known is not None:
            return draft_of(known)
        if math.isnan(snapshot.age_s[n]):  # whatever was decided could not be held against what the node has left
            return Draft(decision={}, outcome=Outcome.FALLBACK, decided_by="fallback:unchanged", reason=Reason.UNREAD)
        kind = DeploymentKind(deps, snapshot, n, macro)
        if filling.asker is not None and not cluster.feasible[n].any():  # there is nothing to ask
            return Draft(decision={}, outcome=Outcome.RULE, decided_by=NOTHING)
        if filling.asker is not None:
            return await decide(kind, filling.asker(slot, name), filling.name)
        rng = generator(deps.seed, DEPLOYER, slot, n)
        decision = filling.acting.deploy(snapshot, n, deps.policy(macro), rng)
        if decision is None:  # the rule leaves the node as it is
            return Draft(decision={}, outcome=Outcome.RULE, decided_by=f"rule:{filling.name}")
        return settled_by_rule(kind, decision, filling.name)
