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
from domain.ledger import Role
from domain.workload import Workload
from policies.families import NOBODY
from runtime.agents.families import family_code, has_agents, recipe_of, roles_of
from runtime.agents.request import AgentRequest
from runtime.agents.settings import read_request
from runtime.runs.graph_families import GraphFamilies

FOR_AGENTS = (
    *("model", "planner_model", "scheduler_model", "deployer_model", "base_url", "temperature", "model_seed"),
    *("timeout_s", "max_tokens", "slot_tokens", "slot_usd", "slot_seconds", "patience_s", "prices"),
    *("llm", "tape", "replay_tape", "planner_tools", "fallback"),
)
"""Fields of a request that no rule heeds."""
OPTIONS = {"timeout_s": "--timeout", "patience_s": "--patience"}
"""Options whose names are not those of their fields."""


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
    _refuse_what_nobody_heeds(request, (*families, *shadows))
    settings = dataclasses.replace(settings, shadows=shadows)
    return GraphFamilies(cluster, settings, workload, slots, approver=ask_on_terminal if settings.approve else None)


def _refuse_what_nobody_heeds(request: AgentRequest, families: Sequence[str]) -> None:
    """Raise InputError where options are about agents, or plans, and no family has any."""
    given = [name for name in FOR_AGENTS if getattr(request, name) not in (None, False)]
    if given and not request.via_graph and not any(has_agents(code) for code in families):
        options = ", ".join(OPTIONS.get(name, "--" + name.replace("_", "-")) for name in given)
        raise InputError(
            f"{options}: only agents heed that, and {', '.join(families)} {'has' if len(families) == 1 else 'have'} "
            "none; leave it out, or choose a family of agents such as MA."
        )
    if request.approve and all(roles_of(recipe_of(code))[Role.PLANNER] == NOBODY for code in families):
        raise InputError(
            f"--approve asks before a plan is adopted, and no planner is in {', '.join(families)}; leave it out, or "
            "choose a family with one, such as MA or RH."
        )


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
