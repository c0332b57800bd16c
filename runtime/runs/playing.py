"""Plays what a ledger holds into a world again, slot by slot, and only where the ledger holds all of it.

A world that a resume or a what-if brings back must be the one that was. A slot of which a decision is missing is not
one in which nothing was decided; so it is never played.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence

from domain.cluster import Cluster
from domain.decisions import RoutingPlan
from domain.ledger import Decision, Role
from domain.telemetry import Records
from domain.testbed import Testbed
from graph.gate.door import act, recorded
from graph.slot.kinds import deployment_of
from memory.store import Memory

PAGE = 50
"""Slots of decisions that are read from memory at once."""


class LedgerGap(Exception):
    """A decision is missing, or there twice, or of another testbed; the text says in which slot and what."""


async def ledger_slots(
    memory: Memory, run: str, slots: range, cluster: Cluster, planned: bool = False
) -> AsyncIterator[tuple[int, list[Decision]]]:
    """Yield slots in order with their decisions, a page at a time.

    Args:
        memory: that holds the ledger.
        run: name of the run in it.
        slots: that have passed.
        cluster: that they were decided for.
        planned: True where somebody plans: the first slot of an epoch must have a macro-policy.

    Raises:
        LedgerGap: at the first slot that is not whole.
        MemoryAway: the memory cannot be read.
    """
    for start in range(slots.start, slots.stop, PAGE):
        page = range(start, min(start + PAGE, slots.stop))
        own = defaultdict[int, list[Decision]](list)
        for decision in await memory.decisions(run, first=page[0], last=page[-1]):
            own[decision.slot].append(decision)
        for slot in page:
            check_whole(cluster, slot, own[slot], planned)
            yield slot, own[slot]


def check_whole(cluster: Cluster, slot: int, decisions: Sequence[Decision], planned: bool = False) -> None:
    """Raise LedgerGap unless a slot has one routing plan and one deployment of each node, and a plan where one is due.

    Args:
        cluster: that the decisions were made for.
        slot: of the decisions.
        decisions: all that the ledger holds of it.
        planned: see `ledger_slots`.
    """
    count = {role: sum(decision.role == role for decision in decisions) for role in Role}
    if count[Role.SCHEDULER] != 1:
        raise LedgerGap(f"slot {slot} has {count[Role.SCHEDULER] or 'no'} routing plans")
    deployed = {decision.node for decision in decisions if decision.role == Role.DEPLOYER}
    missing = [node.name for node in cluster.nodes if node.name not in deployed]
    if missing or count[Role.DEPLOYER] != cluster.n_nodes:
        what = f"no deployment of {missing[0]}" if missing else "deployments of nodes that the testbed has not"
        raise LedgerGap(f"slot {slot} has {what}")
    due = planned and slot % cluster.epoch_slots == 0
    if count[Role.PLANNER] > 1 or (due and not count[Role.PLANNER]):
        raise LedgerGap(f"slot {slot} has {count[Role.PLANNER] or 'no'} macro-policies")


async def play(testbed: Testbed, decisions: Sequence[Decision]) -> Records:
    """Carry out one slot's decisions of the ledger and let the slot pass; return the requests that ended in it.

    Raises:
        BrokenRules: the ledger holds what the gate would never have let through.
    """
    cluster = testbed.cluster
    for decision in decisions:
        what = f"What the ledger holds of slot {decision.slot}"
        if decision.role == Role.SCHEDULER and decision.decision:
            await act(testbed, recorded(cluster, RoutingPlan.from_json(cluster, decision.decision), what))
        elif decision.role == Role.DEPLOYER and decision.decision and decision.node is not None:
            n = cluster.node_index[decision.node]
            await act(testbed, recorded(cluster, deployment_of(cluster, n, decision.decision), what))
    return await testbed.advance()
