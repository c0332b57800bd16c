"""What a person changed in a slot since it was decided (in Studio): it is the person's, and held to the rules like all.

The graph's state shows each decision beside the line of who made it. Where the two differ when the slot is about to be
acted on, somebody changed the decision; a line of the person's own is added, and that one holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.cluster import Cluster
from domain.ledger import Decision, Outcome, Role
from domain.telemetry import Snapshot
from graph.gate.door import BrokenRules
from graph.gate.passage import PERSON
from graph.slot.deps import Deps
from graph.slot.state import SlotState, last_lines


@dataclass(frozen=True, slots=True)
class Edits:
    """What a person changed; nothing at first."""

    plan: dict[str, Any] | None = None
    """The macro-policy, where it was changed after it was adopted; empty where it was taken away."""
    routing: dict[str, Any] | None = None
    """The routing plan, where it was changed after it was dispatched."""
    deployments: Mapping[int, dict[str, Any]] = field(default_factory=dict)
    """Node to its deployment; empty where the node is to stay as it is."""

    @property
    def nodes(self) -> frozenset[int]:
        """Nodes for which a person decided."""
        return frozenset(self.deployments)

    def entries(self, run: str, slot: int, cluster: Cluster) -> list[Decision]:
        """The ledger's entries of them."""
        made: list[tuple[Role, str | None, dict[str, Any]]] = []
        if self.plan is not None:
            made.append((Role.PLANNER, None, self.plan))
        if self.routing is not None:
            made.append((Role.SCHEDULER, None, self.routing))
        made += [(Role.DEPLOYER, cluster.nodes[n].name, own) for n, own in sorted(self.deployments.items())]
        return [Decision(run, slot, role, node, PERSON, Outcome.PERSON, own) for role, node, own in made]


def edits_of(deps: Deps, state: SlotState, snapshot: Snapshot) -> Edits:
    """Compare what the state of a slot holds with what was decided in it.

    Raises:
        BrokenRules: a deployment is for no node, or for one that cannot be read.
    """
    cluster, lines = deps.testbed.cluster, last_lines(state["decisions"])
    told = _by_node(cluster, state["deployments"])
    proposed = {entry["node"] for entry in state.get("proposals") or []}
    changed = {}
    for n, node in enumerate(cluster.nodes):
        own, line = told.get(n, {}), lines.get((Role.DEPLOYER, node.name))
        if (n in proposed and n not in told) or (line is not None and line["decision"] == own):
            continue
        if own and math.isnan(snapshot.age_s[n]):
            raise BrokenRules(f"{node.name} cannot be read in this slot, so nothing can be deployed there.")
        changed[n] = own
    scheduled = lines.get((Role.SCHEDULER, None))
    return Edits(
        plan=changed_plan(deps, state),
        routing=state["routing"] if scheduled is None or scheduled["decision"] != state["routing"] else None,
        deployments=changed,
    )


def changed_plan(deps: Deps, state: SlotState) -> dict[str, Any] | None:
    """Return the macro-policy in force where it is not the one that was adopted; None where it is.

    It lives on from slot to slot, so it can also be changed in the checkpoints of a run that Studio only looks at. The
    states of large clusters do not hold what was adopted.
    """
    if deps.planner is None or not deps.detailed:
        return None
    macro, adopted = state.get("macro_policy") or {}, (state.get("plan_draft") or {}).get("decision") or {}
    return macro if macro != adopted else None


def _by_node(cluster: Cluster, deployments: Sequence[Any]) -> dict[int, dict[str, Any]]:
    """Node to the last deployment that is given for it."""
    told = {}
    for entry in deployments:
        node = entry.get("node") if isinstance(entry, Mapping) else None
        if not isinstance(node, int) or isinstance(node, bool) or not 0 <= node < cluster.n_nodes:
            raise BrokenRules(f"A deployment needs a node from 0 to {cluster.n_nodes - 1}, not {node!r}.")
        told[node] = entry.get("allocations") or {}
    return told
