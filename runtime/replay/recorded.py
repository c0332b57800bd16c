"""Recorded runs, slot by slot: from checkpoints, which hold the graph's whole state, or from a memory's ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from domain.cluster import Cluster
from domain.errors import InputError
from domain.ledger import Case, Decision, Outcome, Role
from domain.telemetry import Records
from domain.workload import Arrivals
from graph.slot.checkpoints import open_checkpointer, thread_of
from graph.slot.deps import GateSettings
from graph.slot.nodes import view
from graph.studio.world import Made, World
from memory.store import Memory
from runtime.replay.supersteps import RecordedSlot
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
    async with open_checkpointer(path) as saver:
        async for kept in saver.alist({"configurable": {"thread_id": thread_of(run)}}):
            state = kept.checkpoint["channel_values"]
            if state.get("completed", -1) == state.get("slot"):
                states.setdefault(state["slot"], state)  # the latest comes first
    if not states:
        raise InputError(f"{path} holds no slot of a run {run!r}.")
    return [_of_state(states[slot], states.get(slot - 1, {})) for slot in sorted(states)]


def _of_state(state: dict[str, Any], earlier: dict[str, Any]) -> RecordedSlot:
    planned = {key: earlier[key] for key in PLANNING if key in earlier}
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


def _of_ledger(
    slot: int, own: Sequence[Decision], records: Records, cluster: Cluster, in_force: dict[str, Any] | None
) -> RecordedSlot:
    success = records.success
    return RecordedSlot(
        slot=slot,
        decisions=[decision.to_json() for decision in own],
        deployments=[
            {"node": cluster.node_index[str(d.node)], "allocations": d.decision} for d in own if d.role == Role.DEPLOYER
        ],
        routing=next((d.decision for d in own if d.role == Role.SCHEDULER), {}),
        before={"macro_policy": in_force},
        after={
            "outcome": {
                "ended": len(records),
                "succeeded": int(success.sum()),
                "mean_latency_s": float(records.latency_s[success].mean()) if success.any() else None,
                "fallbacks": sum(d.outcome == Outcome.FALLBACK for d in own),
            }
        },
    )


def with_worlds(
    recorded: Sequence[RecordedSlot],
    cluster: Cluster,
    made: Made,
    arrivals: Callable[[int], Arrivals],
    covered: int,
    cases: Iterable[Case] = (),
) -> list[RecordedSlot]:
    """Give slots the world that they left behind, so that a thread can go on from any of them.

    The run is played again in the twin. Slots get a world for as long as that shows exactly what the deciders saw: a
    dry run, for one, decided what never came about.

    Args:
        recorded: all slots of a run from slot 0 on, with snapshots.
        cluster: that it ran on.
        made: what its world was made of.
        arrivals: of a slot.
        covered: slots with arrivals; a world is for those alone.
        cases: of the run.
    """
    by_epoch = {case.epoch: case for case in cases}
    detailed = cluster.n_nodes <= GateSettings().full_detail_nodes
    world, twin, found = World.new(made, cluster), Twin(cluster), list[RecordedSlot]()
    for own in recorded:
        seen = view(cluster, twin.observe(), detailed)
        if own.slot != world.slots or own.slot >= covered or own.before.get("snapshot") != seen:
            break
        world = world.then(cluster, own.routing, own.deployments, own.decisions)
        world.decide(own.slot, twin)
        twin.advance(arrivals(own.slot))
        own = replace(own, after={**own.after, "world": world.pack()})
        epoch, left = divmod(own.slot + 1, cluster.epoch_slots)
        if not left:
            world = replace(world, last_case=by_epoch.get(epoch - 1))
            own = replace(own, remembered={"world": world.pack()})
        found.append(own)
    return [*found, *recorded[len(found) :]]
