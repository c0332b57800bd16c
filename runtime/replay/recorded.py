"""Recorded runs, slot by slot: from checkpoints, which hold the graph's state, or from a memory's ledger, or both.

On large clusters the state holds no decisions but those that stand out; then the ledger's are taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from domain.cluster import Cluster
from domain.errors import InputError
from domain.ledger import Case, Decision, Outcome, Role
from domain.telemetry import Records
from domain.workload import Arrivals
from graph.gate.passage import Draft
from graph.slot.checkpoints import open_checkpointer, thread_of
from graph.slot.deps import GateSettings
from graph.slot.nodes import view
from graph.studio.world import Made, World
from memory.copying import openable
from memory.store import Memory
from runtime.replay.supersteps import RecordedSlot
from runtime.runs.playing import LedgerGap, ledger_slots
from twin.twin import Twin

PLANNING = ("macro_policy", "macro_by", "macro_epoch", "macro_made")


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots `first` to `last`, both included; None: no bound."""

    first: int = 0
    last: int | None = None

    def __contains__(self, slot: int) -> bool:
        return slot >= self.first and (self.last is None or slot <= self.last)


async def from_checkpoints(path: Path, run: str) -> list[RecordedSlot]:
    """Read all slots of a run from its checkpoints, an SQLite file. Raises InputError where there are none."""
    if not path.is_file():
        raise InputError(f"{path}: there are no checkpoints here.")
    states: dict[int, dict[str, Any]] = {}
    with openable(path) as own:
        async with open_checkpointer(own) as saver:
            async for kept in saver.alist({"configurable": {"thread_id": thread_of(run)}}):
                state = kept.checkpoint["channel_values"]
                if state.get("completed", -1) == state.get("slot"):
                    states.setdefault(state["slot"], state)  # the latest comes first
    if not states:
        raise InputError(f"{path} holds no slot of a run {run!r}.")
    return [_of_state(states[slot], states.get(slot - 1, {})) for slot in sorted(states)]


def _of_state(state: dict[str, Any], earlier: dict[str, Any]) -> RecordedSlot:
    planned = {key: earlier[key] for key in PLANNING if key in earlier}
    if planned.get("macro_policy"):
        planned["plan_draft"] = earlier.get("plan_draft") or _in_hand(planned["macro_policy"], planned["macro_by"])
    return RecordedSlot(
        slot=state["slot"],
        decisions=state["decisions"],
        deployments=state["deployments"],
        routing=state["routing"],
        before={"snapshot": state["snapshot"], "last_traffic": state["last_traffic"], **planned},
        after={"outcome": state["outcome"], "traffic": state["traffic"]},
        drafts={key: state[key] for key in ("plan_draft", "routing_draft") if key in state},
    )


async def from_memory(memory: Memory, run: str, cluster: Cluster, slots: Slots) -> list[RecordedSlot]:
    """Read slots from the ledger and the records; what the deciders saw is in their prompts alone.

    Raises:
        InputError: the memory knows no such run, or it took place on another testbed.
    """
    decisions = await memory.decisions(run, first=slots.first, last=slots.last)
    if not decisions:
        known = ", ".join(await memory.runs()) or "none"
        raise InputError(f"The memory holds no decision of a run {run!r} in these slots; it knows the runs: {known}.")
    found, in_force = list[RecordedSlot](), await _in_force(memory, run, decisions[0].slot)
    for slot in sorted({decision.slot for decision in decisions}):
        own = [decision for decision in decisions if decision.slot == slot]
        records = await memory.records(run, slot, slot)
        try:
            found.append(_of_ledger(slot, own, records, cluster, in_force))
        except KeyError as error:
            raise InputError(f"Run {run!r} has a node or LM {error} that testbed {cluster.name} has not.") from None
        plan = next((d.decision for d in own if d.role == Role.PLANNER), None)
        in_force = in_force if plan is None else plan
    return found


async def _in_force(memory: Memory, run: str, slot: int) -> dict[str, Any] | None:
    plans = await memory.decisions(run, role=Role.PLANNER, last=slot - 1) if slot else []
    return plans[-1].decision if plans else None


def _in_hand(plan: dict[str, Any], by: str) -> dict[str, Any]:
    """The draft of a plan in force, as the graph's state has it beside the plan: so nobody has changed it."""
    return Draft(decision=plan, decided_by=by).to_json()


def _of_ledger(
    slot: int, own: Sequence[Decision], records: Records, cluster: Cluster, in_force: dict[str, Any] | None
) -> RecordedSlot:
    success, decided = records.success, Decided.of(slot, own, cluster)
    return RecordedSlot(
        slot=slot,
        decisions=decided.lines,
        deployments=decided.deployments,
        routing=decided.routing,
        before={"macro_policy": in_force, **({"plan_draft": _in_hand(in_force, "")} if in_force else {})},
        after={
            "outcome": {
                "ended": len(records),
                "succeeded": int(success.sum()),
                "mean_latency_s": float(records.latency_s[success].mean()) if success.any() else None,
                "fallbacks": sum(d.outcome == Outcome.FALLBACK for d in own),
            }
        },
    )


class Decided(NamedTuple):
    """What was decided in a slot, as the state of a small cluster has it."""

    slot: int
    routing: dict[str, Any]
    deployments: list[dict[str, Any]]
    lines: list[dict[str, Any]]

    @classmethod
    def of(cls, slot: int, own: Sequence[Decision], cluster: Cluster) -> Decided:
        """Of the ledger's entries. Raises KeyError for a node that the cluster has not."""
        nodes = [d for d in own if d.role == Role.DEPLOYER]
        return cls(
            slot,
            routing=next((d.decision for d in own if d.role == Role.SCHEDULER), {}),
            deployments=[{"node": cluster.node_index[str(d.node)], "allocations": d.decision} for d in nodes],
            lines=[d.to_json() for d in own],
        )


async def decided_in(memory: Memory, run: str, slots: int, cluster: Cluster) -> AsyncIterator[Decided]:
    """Yield what was decided in the first slots of a run, up to the first of which the memory does not hold all."""
    try:
        async for slot, own in ledger_slots(memory, run, range(slots), cluster):
            yield Decided.of(slot, own, cluster)
    except LedgerGap:
        return


async def decided_of(recorded: Sequence[RecordedSlot]) -> AsyncIterator[Decided]:
    """Yield what the states themselves say, up to the first slot that is missing or does not say."""
    for slot, own in enumerate(recorded):
        if own.slot != slot or not own.routing:
            return
        yield Decided(slot, dict(own.routing), [dict(d) for d in own.deployments], [dict(d) for d in own.decisions])


async def filled(own: RecordedSlot, memory: Memory, run: str, cluster: Cluster) -> RecordedSlot:
    """Take decisions that the state is too small to hold from the ledger, where that has them."""
    if own.routing or not (entries := await memory.decisions(run, own.slot)):
        return own
    decided = Decided.of(own.slot, entries, cluster)
    return replace(own, routing=decided.routing, deployments=decided.deployments, decisions=decided.lines)


async def with_worlds(
    recorded: Sequence[RecordedSlot],
    cluster: Cluster,
    made: Made,
    arrivals: Callable[[int], Arrivals],
    covered: int,
    decisions: AsyncIterable[Decided],
    cases: Iterable[Case] = (),
) -> list[RecordedSlot]:
    """Give slots the world that they left behind, so that a thread can go on from any of them.

    The run is played again in the twin. Slots get a world for as long as that shows exactly what the deciders saw: a
    dry run, for one, decided what never came about.

    Args:
        recorded: slots of a run, with snapshots.
        cluster: that it ran on.
        made: what its world was made of.
        arrivals: of a slot.
        covered: slots with arrivals; a world is for those alone.
        decisions: of the run, from slot 0 on.
        cases: of the run.
    """
    by_epoch, wanted = {case.epoch: case for case in cases}, {own.slot: own for own in recorded}
    detailed = cluster.n_nodes <= GateSettings().full_detail_nodes
    world, twin, found = World.new(made, cluster), Twin(cluster), dict[int, RecordedSlot]()
    async for decided in decisions:
        slot = decided.slot
        own = wanted.get(slot)
        if slot >= covered or slot > max(wanted, default=-1):
            break
        if own is not None and own.before.get("snapshot") != view(cluster, twin.observe(), detailed):
            break
        world = world.then(cluster, decided.routing, decided.deployments, decided.lines)
        world.decide(slot, twin)
        twin.advance(arrivals(slot))
        packed = None if own is None else world.pack()
        epoch, left = divmod(slot + 1, cluster.epoch_slots)
        if not left:
            world = replace(world, last_case=by_epoch.get(epoch - 1))
        if own is not None:
            remembered = {} if left else {"world": world.pack()}
            found[slot] = replace(own, after={**own.after, "world": packed}, remembered=remembered)
    return [found.get(own.slot, own) for own in recorded]
