"""Tools that look at the present: the snapshot that all deciders of the slot share, and a fresh reading of one node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.tools import BaseTool
from pydantic import BaseModel, ConfigDict, Field, create_model

from domain.cluster import Cluster
from domain.telemetry import Snapshot
from domain.testbed import Testbed
from tools.making import make_tool, node_number, node_type
from tools.views import cluster_view, node_view

MOST_NODES = 24
"""Nodes that a reading of the whole cluster shows; of more, those with the most prompts waiting."""
UNITS = (
    "Per LM on a node: pod (STARTING, READY, TERMINATING or PENDING; none means off), its cores or vgpus, "
    "phase_left_s until it is ready or gone, backlog_prompts and backlog_requests not finished yet, oldest_wait_s of "
    "the queue's head, arrived_prompts of users at that node in the last slot, busy_s it computed in the last slot. "
    "What is zero is left out."
)


def read_snapshot(cluster: Cluster, snapshot: Callable[[], Awaitable[Snapshot]]) -> BaseTool:
    """Make the tool that reads the slot's snapshot, whole or one node of it."""
    arguments = create_model(
        "ReadSnapshotArguments",
        __config__=ConfigDict(extra="forbid"),
        node=(
            node_type(cluster) | None,
            Field(None, description="Name of one node; leave it out for sums over the cluster and its busiest nodes."),
        ),
    )

    async def answer(node: str | None = None) -> dict[str, Any]:
        n = None if node is None else node_number(cluster, node)
        seen = await snapshot()
        if n is None:
            return cluster_view(cluster, seen, MOST_NODES)
        return {"slot": seen.slot, "node": node, **node_view(cluster, seen, n)}

    return make_tool(
        "read_snapshot",
        f"Read the state of the cluster at the end of the last slot: queues, pods and free resources. {UNITS}",
        arguments,
        answer,
    )


def scrape_node(testbed: Testbed) -> BaseTool:
    """Make the tool that reads one node anew, past the snapshot that the slot's deciders share."""
    cluster = testbed.cluster
    arguments: type[BaseModel] = create_model(
        "ScrapeNodeArguments",
        __config__=ConfigDict(extra="forbid"),
        node=(node_type(cluster), Field(description="Name of the node.")),
    )

    async def answer(node: str) -> dict[str, Any]:
        n = node_number(cluster, node)
        seen = await testbed.observe()
        return {"slot": seen.slot, "node": node, **node_view(cluster, seen, n)}

    return make_tool(
        "scrape_node",
        "Read one node again, now. Use it where read_snapshot shows an old reading of a node, or none. "
        f"reading_age_s says how old the figures are. {UNITS}",
        arguments,
        answer,
    )
