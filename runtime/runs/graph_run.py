"""Runs the slot graph slot after slot, and goes on where a killed run stopped: same slot, nothing decided twice.

Three things survive a kill: checkpoints (the graph's state at the end of each slot), the ledger (each decision, written
the moment it is made) and the records. A simulated world is brought back by playing the ledger's decisions into it
again; a live one is still there. The slot in which the run died starts over, and takes from the ledger what was decided
already.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command, Interrupt

from domain.decisions import RoutingPlan
from domain.ledger import Decision, Role
from domain.objective import summarise
from domain.testbed import Testbed
from graph.slot.build import SlotGraph, build_graph
from graph.slot.checkpoints import DURABILITY, thread_of
from graph.slot.deps import Deps
from graph.slot.kinds import deployment_of
from graph.slot.state import SlotState
from graph.trace.lines import Trace
from memory import MemoryAway
from runtime.runs.collector import calm_collector

Approver = Callable[[dict[str, Any]], Awaitable[bool]]
"""Shows a macro-policy to a person and waits for yes or no."""


@dataclass(frozen=True)
class GraphRun:
    """One run of the slot graph."""

    deps: Deps
    checkpointer: BaseCheckpointSaver[Any]
    slots: int
    replays: bool
    """True where the world is simulated and has to be brought back after a kill."""
    approver: Approver | None = None
    on_slot: Callable[[SlotState], Awaitable[None]] | None = None
    """Called after each slot with the state of the graph."""
    trace: Trace | None = None
    """Told of every node while slots run."""

    async def run(self) -> int:
        """Run all slots that are left; return the first slot that this process ran."""
        graph = build_graph(self.deps, self.checkpointer, approve=self.approver is not None, editable=False)
        config: RunnableConfig = {"configurable": {"thread_id": thread_of(self.deps.run)}}
        first = await self._restore(graph, config)
        waiting = await graph.aget_state(config)
        asked = waiting.interrupts if waiting.values.get("slot") == first else ()  # killed while a person was asked
        if asked:
            self.deps.watch(await self.deps.snapshot(first))  # what goes on has observed already
        with calm_collector():
            for slot in range(first, self.slots):
                state = await self._slot(graph, config, slot, asked)
                asked = ()
                if self.on_slot is not None:
                    await self.on_slot(state)
        return first

    async def _slot(self, graph: SlotGraph, config: RunnableConfig, slot: int, asked: Sequence[Interrupt]) -> SlotState:
        given: Any = {"slot": slot}
        while True:
            if asked:
                given = Command(resume=await self._ask(asked[0].value))
            if self.trace is None:
                state: Any = await graph.ainvoke(given, config, durability=DURABILITY)
            else:
                state = await self.trace.run_slot(graph, given, config, slot)
            asked = state.get("__interrupt__", ())
            if not asked:
                return cast("SlotState", state)

    async def _ask(self, question: dict[str, Any]) -> bool:
        return self.approver is not None and await self.approver(question)

    async def _restore(self, graph: SlotGraph, config: RunnableConfig) -> int:
        saved = await graph.aget_state(config)
        completed = int(saved.values.get("completed", -1)) if saved.values else -1
        deps = self.deps
        if saved.values.get("foresight"):
            deps.foresight.load(saved.values["foresight"])
        for slot in range(completed + 1 if self.replays else 0):
            snapshot, decisions = await deps.testbed.observe(), await deps.memory.decisions(deps.run, slot)
            deps.watch(snapshot)
            for decision in decisions:
                if decision.role is Role.PLANNER:
                    deps.planned(snapshot, decision.outcome)
            await play(deps.testbed, decisions)
        cluster = deps.testbed.cluster
        try:
            begun = await deps.memory.decisions(deps.run, completed + 1)
            deps.last_case = next(iter(await deps.memory.cases(cluster.name, 1, run=deps.run)), None)
        except MemoryAway:
            if completed >= 0:
                raise  # where a run goes on, only the ledger can say what was decided
            begun = []
        deps.decided = {(d.slot, d.role, d.node): d for d in begun}
        for epoch in range((completed + 1) // cluster.epoch_slots):
            start = epoch * cluster.epoch_slots
            records = await deps.memory.records(deps.run, start, start + cluster.epoch_slots - 1)
            deps.history.append(summarise(records, cluster.n_lms, cluster.deadline_s, cluster.latency_weight))
        return completed + 1


async def play(testbed: Testbed, decisions: list[Decision]) -> None:
    """Carry out one slot's decisions of the ledger and let the slot pass."""
    cluster = testbed.cluster
    for decision in decisions:
        if decision.role == Role.SCHEDULER:
            await testbed.route(RoutingPlan.from_json(cluster, decision.decision))
        elif decision.role == Role.DEPLOYER and decision.decision and decision.node is not None:
            n = cluster.node_index[decision.node]
            await testbed.deploy(deployment_of(cluster, n, decision.decision))
    await testbed.advance()
