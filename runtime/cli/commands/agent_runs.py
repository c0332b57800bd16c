"""Runs of agents, as the command line asks for them: settings, approval on the terminal, the way through the graph."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from domain.cluster import Cluster
from domain.errors import InputError
from domain.workload import Workload
from runtime.agents.families import family_code
from runtime.agents.request import AgentRequest
from runtime.agents.settings import read_request
from runtime.runs.graph_families import GraphFamilies


def by_graph(
    request: AgentRequest,
    cluster: Cluster,
    families: Sequence[str],
    workload: Callable[[int], Workload],
    slots: int,
) -> GraphFamilies:
    """Check what is asked for and prepare the way through the slot graph; raises InputError."""
    settings = read_request(request, cluster.slot_s, os.environ)
    shadows = tuple(family_code(code) for text in settings.shadows for code in text.split(","))
    for code in shadows:
        if shadows.count(code) > 1 or code in families:
            raise InputError(f"--shadow names {code}, which decides already; name each family once.")
    settings = dataclasses.replace(settings, shadows=shadows)
    return GraphFamilies(cluster, settings, workload, slots, approver=ask_on_terminal if settings.approve else None)


async def ask_on_terminal(question: dict[str, Any]) -> bool:
    """Show a macro-policy and wait for yes or no; raises InputError where nobody is there to answer."""
    console = Console(stderr=True, highlight=False)
    console.print(f"\n{question['question']} Decided by {question['decided_by']}.", markup=False)
    told = (question.get("rehearsal") or {}).get("predicted")
    if told is not None:
        latency = "none" if told["mean_latency_s"] is None else f"{told['mean_latency_s']:.1f} s"
        console.print(f"Predicted: J {told['objective']:.4f}, mean latency {latency}, F {told['fairness']:.3f}.")
    console.print(policy_table(question["macro_policy"]))
    while True:
        console.print("Adopt it? [y/n] ", end="", markup=False)
        said: str = await asyncio.to_thread(sys.stdin.readline)
        if not said:
            raise InputError("--approve needs somebody to answer y or n; the same command asks again.")
        if said.strip().lower() in ("y", "yes", "n", "no"):
            return bool(said.strip().lower().startswith("y"))


def policy_table(policy: dict[str, Any]) -> Table:
    """A macro-policy by node: its roles, and its share of each LM's traffic."""
    table = Table(box=SIMPLE, pad_edge=False)
    table.add_column("node")
    table.add_column("roles")
    for lm in policy["routing"]:
        table.add_column(f"share of {lm}", justify="right")
    for node, roles in policy["roles"].items():
        shares = [f"{row.get(node, 0.0):.2f}" if row.get(node) else "" for row in policy["routing"].values()]
        table.add_row(node, ", ".join(roles) or "none", *shares)
    return table
