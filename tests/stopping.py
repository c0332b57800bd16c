"""Runs on the tiny cluster that stop in the middle of a slot and go on, as often as a test wants."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from domain.decisions import OFF, Allocation, Deployment, MacroPolicy
from domain.ledger import Role
from domain.telemetry import Snapshot
from graph.slot.checkpoints import open_checkpointer
from graph.slot.deps import Deps
from memory import open_memory
from policies.families import make
from policies.random import RandomScheduler
from policies.roles import SCHEDULER, generator
from runtime.runs.graph_run import Approver, GraphRun
from tests.agents import deps_of
from tests.clusters import deployer_answer, tiny
from twin.testbed import TwinTestbed
from twin.twin import Twin
from twin.workloads import load_workload

CLUSTER = tiny(deadline_s=60.0)
SLOTS, STOP = 10, 5
"""Epochs have four slots; slot 5 is the second of one, slot 7 the last."""
PLAN = MacroPolicy.unrestricted(CLUSTER)
ROUTES = RandomScheduler(CLUSTER).schedule(Twin(CLUSTER).observe(), PLAN, generator(5, SCHEDULER))
ALL_OFF = tuple(OFF for _ in CLUSTER.lms)
DEPLOYED = {
    node.name: json.dumps(deployer_answer(CLUSTER, Deployment(n, (Allocation(cores=2), *ALL_OFF[1:]))))
    for n, node in enumerate(CLUSTER.nodes)
}
"""Sound answers of deployers, by node."""


class Stopped(Exception):
    """Stands for whatever ends a run in the middle of a slot."""


class Run:
    """A run of rules on the tiny cluster in one folder, as often as it takes."""

    def __init__(self, folder: Path, family: str = "RH", approver: Approver | None = None) -> None:
        self.folder, self.family, self.approver = folder, family, approver
        self.told: list[tuple[int, Role, str | None]] = []
        self.prepare: Callable[[Deps], None] = lambda deps: None
        self.deps: Deps | None = None
        folder.mkdir(exist_ok=True)

    async def go(self, slots: int = SLOTS, memory: str = "m.sqlite", run: str = "test") -> int:
        async with open_memory(self.folder / memory) as store, open_checkpointer(self.folder / "c.sqlite") as saver:
            testbed = TwinTestbed(Twin(CLUSTER), load_workload("p1", CLUSTER, 3))
            deps = self.deps = deps_of(make(self.family, CLUSTER), testbed, store, run)
            deps.on_decisions = lambda entries: self.told.extend((d.slot, d.role, d.node) for d in entries)
            self.prepare(deps)
            return await GraphRun(deps, saver, slots, replays=True, approver=self.approver).run()

    async def kept(self) -> tuple[Any, ...]:
        async with open_memory(self.folder / "m.sqlite") as memory:
            records = await memory.records("test")
            return (
                [decision.to_json() for decision in await memory.decisions("test")],
                [case.to_json() for case in await memory.cases("tiny")],
                [(entry.epoch, entry.telemetry.objective, entry.extra) for entry in await memory.telemetry("test")],
                [column.tolist() for column in (records.request, records.outcome, records.queue_s, records.target)],
            )


def stopping(deps: Deps, node: str, slot: int, error: type[Exception]) -> None:
    """Let a run stop when a rule is asked in a slot."""
    filling = getattr(deps, node)
    own = filling.rule
    name = {"scheduler": "schedule", "deployer": "deploy", "planner": "plan"}[node]
    decide = getattr(own, name)

    def asked(snapshot: Snapshot, *rest: Any) -> Any:
        if snapshot.slot == slot:
            raise error("stopped")
        return decide(snapshot, *rest)

    setattr(own, name, asked)


async def stopped_in(slot: int, folder: Path, family: str = "RH") -> Run:
    run = Run(folder, family)
    run.prepare = lambda deps: stopping(deps, "scheduler", slot, Stopped)
    with pytest.raises(Stopped):
        await run.go()
    run.prepare = lambda deps: None
    return run


def lose(folder: Path, where: str, table: str = "decisions") -> None:
    with closing(sqlite3.connect(folder / "m.sqlite")) as connection, connection:
        assert connection.execute(f"DELETE FROM {table} WHERE {where}").rowcount
