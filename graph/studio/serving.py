"""The slot graph for LangGraph Studio: each thread is a run of its own on the twin, slot by slot, with no key needed.

`langgraph dev` calls `make_graph` whenever it needs the graph: to draw it, to read or edit a thread, to run a slot.
Only a run gets a world, a memory and models. The world comes out of the thread's state, where the run before packed it
(`graph.studio.world`), so a thread goes on after a restart of the server, and a branch from an earlier checkpoint goes
on in the world of that checkpoint.

A run takes {"slot": n} as its input, the first slot 0, then one after the other.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph_sdk import get_client
from langgraph_sdk.errors import NotFoundError
from langgraph_sdk.runtime import ServerRuntime

from domain.cluster import Cluster, Node
from domain.decisions import Deployment, RoutingPlan
from domain.errors import InputError
from domain.telemetry import Records, Snapshot
from graph.slot.build import SlotGraph, build_graph
from graph.slot.checkpoints import open_checkpointer
from graph.slot.deps import Deps, Fallbacks, Filling
from graph.studio.context import AGENT, Context, read_context
from graph.studio.run import open_run, read_cluster
from memory import Memory, MemoryAway
from policies.families import NOBODY

CHECKPOINTS = "EDGEWISE_CHECKPOINTS"
"""Variable that names the checkpoints of runs: an SQLite file, or a mongodb:// URI."""
_Z = np.zeros((1, 1))
NOTHING = Cluster("nothing", (Node("node", "site", "cpu", 1, 1.0),), (), latency_s=_Z, seconds_per_byte=_Z)
"""A cluster to draw the graph with."""


class StudioError(ValueError):
    """What is wrong, for the user: the server shows the text of a ValueError and hides that of other errors."""


@asynccontextmanager
async def make_graph(config: RunnableConfig, runtime: ServerRuntime[Context]) -> AsyncIterator[SlotGraph]:
    """Build the graph for one call of the server.

    Args:
        config: names the thread and, for a branch, the checkpoint that a run goes on from.
        runtime: says what the server is about to do.

    Raises:
        StudioError: the context, the input or the thread's world is wrong.
    """
    execution, known = runtime.execution_runtime, config.get("configurable", {})
    try:
        if execution is not None:
            name = f"studio/{known.get('thread_id')}/{known.get('run_id')}"  # branches keep their cases apart
            async with open_run(read_context(execution.context), await _values(known), name) as run:
                yield build_graph(run.deps, context=Context, carry=run.carry)
        elif runtime.access_context == "threads.update":  # follows the edges of the node that is edited
            context, planned = await _edited(known)
            cluster = await asyncio.to_thread(read_cluster, context)
            yield build_graph(_at_rest(cluster, planned), context=Context)
        else:
            yield build_graph(_at_rest(NOTHING, planned=False), context=Context)
    except (InputError, MemoryAway) as error:
        raise StudioError(str(error)) from error


@asynccontextmanager
async def shared_checkpoints() -> AsyncIterator[BaseCheckpointSaver[Any]]:
    """Open the checkpoints that runs write, in place of the server's own (langgraph.shared.json).

    Raises:
        StudioError: the environment names none, or they cannot be opened.
    """
    where = os.environ.get(CHECKPOINTS, "").strip()
    if not where:
        raise StudioError(f"{CHECKPOINTS} must name the checkpoints of the runs: an SQLite file or a mongodb:// URI.")
    try:
        async with open_checkpointer(where) as saver:
            yield saver
    except (InputError, MemoryAway) as error:
        raise StudioError(str(error)) from error


async def _values(configurable: Mapping[str, Any]) -> Mapping[str, Any]:
    """State of the thread at the checkpoint that a run goes on from; empty for a new thread, or none."""
    thread = configurable.get("thread_id")
    if thread is None:
        return {}
    async with get_client(api_key=None) as client:  # of this very server, without a connection
        try:
            state = await client.threads.get_state(str(thread), checkpoint_id=configurable.get("checkpoint_id"))
        except NotFoundError:
            return {}
    return state["values"] if isinstance(state["values"], Mapping) else {}


async def _edited(configurable: Mapping[str, Any]) -> tuple[Context, bool]:
    """Context of the thread's last run, or the one that it was imported with; and whether somebody plans in it."""
    thread = str(configurable.get("thread_id"))
    async with get_client(api_key=None) as client:
        runs = await client.runs.list(thread, limit=1)
        imported: Any = (await client.threads.get(thread))["metadata"] or {}
    if runs:
        context = read_context(cast("Any", runs[0])["kwargs"].get("context"))
        return context, context.planner == AGENT or context.recipe.planner != NOBODY
    return read_context(imported.get("context")), bool(imported.get("planned"))


@dataclass(frozen=True)
class Still:
    """A testbed in which nothing happens: enough to draw the graph and to follow its edges."""

    cluster: Cluster

    async def observe(self) -> Snapshot:
        """Nothing to see."""
        raise NotImplementedError

    async def route(self, plan: RoutingPlan) -> None:
        """Nothing to route."""
        raise NotImplementedError

    async def deploy(self, deployment: Deployment) -> None:
        """Nothing to deploy."""
        raise NotImplementedError

    async def advance(self) -> Records:
        """Nothing passes."""
        raise NotImplementedError


def _at_rest(cluster: Cluster, planned: bool) -> Deps:
    """What the graph is drawn and followed with: no node of it ever runs."""
    testbed, nobody = Still(cluster), Filling[Any]("nobody")
    return Deps(
        testbed=testbed,
        memory=cast("Memory", None),
        run="",
        family="",
        seed=0,
        planner=nobody if planned else None,
        scheduler=nobody,
        deployer=nobody,
        fallbacks=Fallbacks.random(testbed),
    )
