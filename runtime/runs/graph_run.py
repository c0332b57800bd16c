"""Runs the slot graph slot after slot, and goes on where a run was stopped: same slot, nothing decided twice.

Three things outlive a process: checkpoints (the graph's state between two slots), the ledger (each decision, written
the moment it is made) and the records. A simulated world is brought back by playing the ledger's decisions into it
again; a live one is still there. The slot in which the run stopped starts over from the state before it, however far it
had come, and takes from the ledger what was decided already. So a run that was killed, interrupted or left by its store
is the run that it would have been.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.base.id import uuid6
from langgraph.types import Command

from domain.errors import InputError
from domain.ledger import Case, Role
from domain.objective import summarise
from domain.telemetry import Records
from graph.gate.passage import Draft
from graph.slot.build import SlotGraph, build_graph
from graph.slot.checkpoints import DURABILITY, thread_of
from graph.slot.deps import Deps
from graph.slot.state import SlotState, has_passed
from graph.trace.lines import Trace
from memory import MemoryAway
from runtime.runs.collector import calm_collector
from runtime.runs.playing import PAGE, LedgerGap, ledger_slots, play

Approver = Callable[[dict[str, Any]], Awaitable[bool]]
"""Shows a macro-policy to a person and waits for yes or no."""


@dataclass(frozen=True)
class _Kept:
    """What the checkpoints know of a run."""

    config: RunnableConfig
    """Of the state before the slot that is next."""
    values: dict[str, Any]
    """That state."""
    draft: dict[str, Any] | None
    """Of the plan about which a person was asked in that slot."""
    begun: bool
    """False where no process has worked on the run before."""

    @property
    def next(self) -> int:
        """The slot that is next."""
        return int(self.values["completed"]) + 1


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
        """Run all slots that are left; return the first slot that this process ran.

        Raises:
            InputError: the run has been begun, and the memory does not hold what the checkpoints say was decided.
            MemoryAway: the run has been begun, and the memory cannot be read.
        """
        graph = build_graph(self.deps, self.checkpointer, approve=self.approver is not None, editable=False)
        config: RunnableConfig = {"configurable": {"thread_id": thread_of(self.deps.run)}}
        kept = await self._kept(graph, config)
        await self._restore(kept)
        ahead, start = True, kept.config
        with calm_collector():
            for slot in range(kept.next, self.slots):
                ahead = ahead and await self._look_ahead(slot, kept.begun)
                state = await self._slot(graph, config, slot, start)
                start = config
                if self.on_slot is not None:
                    await self.on_slot(state)
        return kept.next

    async def _slot(self, graph: SlotGraph, config: RunnableConfig, slot: int, start: RunnableConfig) -> SlotState:
        """Run a slot from the checkpoint that `start` names."""
        given: Any = {"slot": slot}
        while True:
            if self.trace is None:
                state: Any = await graph.ainvoke(given, start, durability=DURABILITY)
            else:
                state = await self.trace.run_slot(graph, given, start, slot)
            asked, start = state.get("__interrupt__", ()), config
            if not asked:
                return cast("SlotState", state)
            given = Command(resume=await self._ask(asked[0].value))

    async def _ask(self, question: dict[str, Any]) -> bool:
        return self.approver is not None and await self.approver(question)

    async def _kept(self, graph: SlotGraph, config: RunnableConfig) -> _Kept:
        """Find the last state between two slots, past those that a stopped slot has left; write the first of all."""
        last = await graph.aget_state(config)
        if not last.values:
            await graph.aupdate_state(config, {"completed": -1}, as_node="remember")
            last = await graph.aget_state(config)
            return _Kept(last.config, last.values, None, begun=False)
        if last.config["configurable"]["checkpoint_id"] > str(uuid6()):  # ids tell which checkpoint is the last
            raise InputError(
                f"This machine's clock is behind the last checkpoint of {self.deps.run}; set it, and give the command "
                "again."
            )
        if has_passed(last.values):
            return _Kept(last.config, last.values, None, begun=True)
        draft = None
        async for state in graph.aget_state_history(config):
            if has_passed(state.values):
                return _Kept(state.config, state.values, draft, begun=True)
            if draft is None and state.interrupts:
                draft = state.values["plan_draft"]
        raise InputError(f"The checkpoints of {self.deps.run} hold no slot that has passed: they are damaged.")

    async def _restore(self, kept: _Kept) -> None:
        """Bring back the world and what the rules have learned."""
        deps, cluster = self.deps, self.deps.testbed.cluster
        if kept.values.get("foresight"):
            deps.foresight.load(kept.values["foresight"])
        if kept.draft is not None:
            deps.drafted = kept.next, kept.draft
        if not kept.begun:
            return
        epochs = kept.next // cluster.epoch_slots
        if self.replays:
            await self._replay(kept.next)
        else:
            for epoch in range(epochs):
                start = epoch * cluster.epoch_slots
                records = await deps.memory.records(deps.run, start, start + cluster.epoch_slots - 1)
                deps.history.append(summarise(records, cluster.n_lms, cluster.deadline_s, cluster.latency_weight))
        deps.last_case = await self._case_before(epochs)

    async def _replay(self, slots: int) -> None:
        """Play the first slots into the world again, and make sure that they come out as they did."""
        deps, planned = self.deps, self.deps.planner is not None
        deps.replaying = True
        try:
            for start in range(0, slots, PAGE):
                page, parts = range(start, min(start + PAGE, slots)), list[Records]()
                async for slot, decisions in ledger_slots(deps.memory, deps.run, page, deps.testbed.cluster, planned):
                    snapshot = await deps.testbed.observe()
                    deps.watch(snapshot)
                    for decision in decisions:
                        if decision.role is Role.PLANNER:
                            deps.planned(snapshot, decision.outcome, decision.decided_by)
                    parts.append(await play(deps.testbed, decisions))
                    self._pass(slot, parts[-1])
                if not _equal(Records.concatenate(parts), await deps.memory.records(deps.run, page[0], page[-1])):
                    raise InputError(
                        f"{deps.memory.status.store} holds other requests of {deps.run}, slots {page[0]} to "
                        f"{page[-1]}, than its decisions come to: the code or the testbed is not what it was."
                    )
        except LedgerGap as gap:
            raise InputError(
                f"{deps.run} has passed {slots} slots, and {deps.memory.status.store} does not hold what was decided "
                f"in them: {gap}. Give --memory as it was when the run began, or start over."
            ) from None
        finally:
            deps.replaying = False

    def _pass(self, slot: int, records: Records) -> None:
        """Know of a slot that has passed what the process knew that ran it."""
        deps, cluster = self.deps, self.deps.testbed.cluster
        deps.passed[slot] = records
        if (slot + 1) % cluster.epoch_slots == 0:
            ended = Records.concatenate(list(deps.passed.values()))
            deps.history.append(summarise(ended, cluster.n_lms, cluster.deadline_s, cluster.latency_weight))
            deps.passed.clear()

    async def _case_before(self, epoch: int) -> Case | None:
        """The last case before an epoch: a run may have remembered an epoch, and stopped before that was noted."""
        deps, testbed = self.deps, self.deps.testbed.cluster.setting
        cases = await deps.memory.cases(testbed, 1, run=deps.run)
        if cases and cases[0].epoch >= epoch:
            cases = [case for case in await deps.memory.cases(testbed, run=deps.run) if case.epoch < epoch]
        return cases[-1] if cases else None

    async def _look_ahead(self, slot: int, begun: bool) -> bool:
        """Take over what the ledger holds of a slot that no checkpoint knows to have passed; False where it has none.

        A process that dies leaves such decisions of one slot, a machine that loses its power perhaps of several: the
        ledger is on the disk before the checkpoint.
        """
        deps = self.deps
        try:
            found = await deps.memory.decisions(deps.run, slot)
        except MemoryAway:
            if begun:
                raise  # where a run goes on, only the ledger can say what was decided
            return False
        deps.decided = {(d.slot, d.role, d.node): d for d in found}
        if deps.paid is not None:
            for decision in found:
                deps.paid(slot, decision.role, decision.attempts)
            drafted = deps.drafted
            if drafted is not None and drafted[0] == slot and (slot, Role.PLANNER, None) not in deps.decided:
                deps.paid(slot, Role.PLANNER, Draft.from_json(drafted[1]).attempts)
        return bool(found)


def _equal(one: Records, other: Records) -> bool:
    """True where every column is the same, bit for bit."""
    pairs = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(Records))
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)
