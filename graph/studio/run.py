"""One run in Studio: the thread's world brought back, the memory opened, the roles filled."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from domain.cluster import Cluster
from domain.errors import InputError
from domain.ledger import Outcome, Role
from domain.telemetry import Snapshot
from graph.models.asking import Asking
from graph.models.budget import Budget, Limits
from graph.models.client import Servers, can_be_asked, default_settings, open_agents
from graph.rehearsal.plans import RehearsalSettings
from graph.slot.deps import Deps, Fallbacks, Filling, GateSettings
from graph.slot.planner_tools import planner_tools
from graph.slot.rehearsing import rehearse
from graph.studio.context import AGENT, Context
from graph.studio.world import World
from memory import Memory, open_memory
from policies.families import make
from tools.traffic import WatchedTestbed
from twin.testbed import TwinTestbed
from twin.testbeds import ServingEdit, read_testbed
from twin.testbeds.build import to_cluster
from twin.twin import Twin
from twin.workloads import load_workload

FOLDER = Path(".langgraph_api")
"""Where the server keeps its threads, in the folder that it was started in."""


@dataclass
class StudioDeps(Deps):
    """What the nodes share, in a thread that must take its slots in order."""

    async def snapshot(self, slot: int) -> Snapshot:
        """Return the snapshot of the slot. Raises InputError where the thread has come to another slot."""
        seen = await Deps.snapshot(self, slot)
        if seen.slot != slot:
            raise InputError(f'This thread has come to slot {seen.slot}; run it with {{"slot": {seen.slot}}}.')
        return seen


@dataclass
class StudioRun:
    """A world with everything that one run in it needs."""

    deps: StudioDeps
    world: World

    def carry(self, state: Mapping[str, Any]) -> str:
        """Pack the world after a slot, or once more when the slot's epoch has been remembered."""
        if self.world.slots == state["slot"]:
            cluster = self.deps.testbed.cluster
            self.world = self.world.then(cluster, state["routing"], state["deployments"], state["decisions"])
        self.world = replace(self.world, last_case=self.deps.last_case)
        return self.world.pack()


@asynccontextmanager
async def open_run(context: Context, values: Mapping[str, Any], name: str) -> AsyncIterator[StudioRun]:
    """Make the world of a thread's state, open the memory, and fill the roles.

    Args:
        context: what the user chose.
        values: state of the thread; empty for a new one.
        name: of the run.

    Raises:
        InputError: a setting is wrong, or the thread's state and the settings do not go together.
        MemoryAway: MONGODB_URI leads nowhere.
    """
    async with AsyncExitStack() as stack:
        memory = await stack.enter_async_context(open_memory(await asyncio.to_thread(_where_to_remember)))
        run = await asyncio.to_thread(_prepare, context, values, memory, name)
        await _add_agents(context, run.deps, stack)
        yield run


def read_cluster(context: Context) -> Cluster:
    """Return the cluster that a thread lives on; raises InputError."""
    names = {f.name: f"The context's {f.name}" for f in fields(ServingEdit)}
    return to_cluster(context.made.serving.of(read_testbed(context.testbed), names))


def _prepare(context: Context, values: Mapping[str, Any], memory: Memory, name: str) -> StudioRun:
    """Read files, compile and compute: everything that would hold up the server's event loop."""
    packed = values.get("world") or None
    if packed is None and values.get("completed") is not None:
        raise InputError("This thread shows a recorded run and carries no world to go on in; start a new thread.")
    world = None if packed is None else World.unpack(packed)
    if world is not None and world.made != context.made:
        kept = ", ".join(f"{field} {value}" for field, value in world.made.told().items())
        raise InputError(f"This thread lives in {kept}; set the context so, or start a new thread for another world.")
    cluster = read_cluster(context)
    workload, twin = load_workload(context.workload, cluster, context.seed, context.load), Twin(cluster)
    testbed = WatchedTestbed(TwinTestbed(twin, workload), cluster.epoch_slots)
    deps = _fill(context, testbed, memory, name)
    if values.get("foresight"):
        deps.foresight.load(values["foresight"])
    world = world or World.new(context.made, cluster)
    world.play(deps, testbed, twin, workload)
    if (values.get("snapshot") or {}).get("slot") == world.slots:  # the run goes on in the middle of a slot
        deps.watch(snapshot := twin.observe())
        draft = values.get("plan_draft")  # an old one says what the planner is about to say again
        if draft and values.get("macro_epoch", -1) != snapshot.slot // cluster.epoch_slots:
            deps.planned(snapshot, draft["outcome"] and Outcome(draft["outcome"]), draft["decided_by"])
        for line in values.get("decisions") or ():
            if line["role"] == Role.PLANNER:
                deps.planned(snapshot, Outcome(line["outcome"]), line["decided_by"])
    twin.copy().advance(workload.arrivals(world.slots))  # loads what is compiled, which reads files
    return StudioRun(deps, world)


def _fill(context: Context, testbed: WatchedTestbed, memory: Memory, name: str) -> StudioDeps:
    family = make(context.family, testbed.cluster, {context.family: context.recipe})
    agents = {role for role, by in context.filled.items() if by == AGENT} if context.rehearse else set[Role]()
    deps = StudioDeps(
        testbed=testbed,
        memory=memory,
        run=name,
        family=context.family,
        seed=context.seed,
        planner=None if family.planner is None else Filling(family.planner_name, family.planner),
        scheduler=Filling(family.scheduler_name, family.scheduler),
        deployer=Filling(family.deployer_name, family.deployer),
        fallbacks=Fallbacks.rehearsed(testbed) if agents else Fallbacks.random(testbed),
        local=family.local and context.scheduler != AGENT,
        gate=GateSettings(full_detail_nodes=sys.maxsize),  # the thread's world lives on in the state
    )
    if agents:
        rehearse(deps, RehearsalSettings(), agents=agents)
    return deps


async def _add_agents(context: Context, deps: Deps, stack: AsyncExitStack) -> None:
    settings = {}
    for role in (role for role, by in context.filled.items() if by == AGENT):
        default = default_settings(role)
        model = context.planner_model if role is Role.PLANNER else context.model
        settings[role] = replace(default, model=model or default.model)
        if not can_be_asked(settings[role], os.environ):
            raise InputError(f"An agent as {role} needs OPENAI_API_KEY or OPENAI_BASE_URL in .env; or choose a rule.")
    if not settings:
        return
    await asyncio.to_thread(importlib.import_module, "graph.models.chat_openai")  # reads files, for a second
    agents = await stack.enter_async_context(open_agents(settings, os.environ, known=_servers()))
    seconds = context.slot_seconds or deps.testbed.cluster.slot_s  # as in a run from the command line
    budget = Budget(Limits(tokens=context.slot_tokens, seconds=seconds))
    for role, agent in agents.items():
        tools = planner_tools(deps) if role is Role.PLANNER and context.planner_tools else ()
        setattr(deps, role, Filling(agent.name, asker=Asking(agent, budget=budget, tools=tools).for_decision))


@cache
def _servers() -> Servers:
    """What the process knows of model servers: a run here is a single slot, and the next must not begin anew."""
    return Servers()


def _where_to_remember() -> str | Path:
    """A MongoDB where the environment names one, else a file beside the server's own."""
    uri = os.environ.get("MONGODB_URI", "").strip()
    if uri:
        return uri
    FOLDER.mkdir(exist_ok=True)
    return FOLDER / "memory.sqlite"
