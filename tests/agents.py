"""Agents for tests of the slot graph: functions in place of models, and runs on bristol in the twin."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from domain.cluster import Cluster
from domain.ledger import Attempt
from domain.serving import Dispatch
from graph.models.asking import Asker
from graph.slot.checkpoints import open_checkpointer
from graph.slot.deps import Deps, Fallbacks, Filling
from memory import Memory, open_memory
from policies.families import Family, make
from policies.random import RandomPlanner
from policies.roles import generator
from runtime.runs.graph_run import GraphRun
from tests.clusters import all_alike
from twin.testbed import TwinTestbed
from twin.testbeds import load_builtin
from twin.twin import Twin
from twin.workloads import load_workload

Reply = Callable[[int, str | None, Sequence[Mapping[str, str]], int], str | None]
"""Slot, node, messages and number of the attempt to an answer; None is a server that is away."""


def asker(reply: Reply, calls: list[tuple[int, str | None, int]] | None = None) -> Callable[[int, str | None], Asker]:
    """Ask a function instead of a model."""

    def of(slot: int, node: str | None) -> Asker:
        async def ask(messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], attempt: int) -> Attempt:
            if calls is not None:
                calls.append((slot, node, attempt))
            answer = reply(slot, node, messages, attempt)
            error = None if answer is not None else "connection: nobody there"
            return Attempt(tuple(dict(m) for m in messages), answer, error=error, prompt_tokens=10, completion_tokens=5)

        return ask

    return of


def good_plan(cluster: Cluster, seed: int = 5) -> str:
    """A sound macro-policy as a model would write it."""
    policy = RandomPlanner(cluster).plan(Twin(cluster).observe(), (), generator(seed))
    return json.dumps({"reasoning": "even", **policy.to_json(cluster)})


def good_routing(cluster: Cluster, plan: str) -> str:
    """Routes within the plan's roles: every origin to the first node with the role, or, where it chooses, to all."""
    roles = json.loads(plan)["roles"]
    if cluster.serving.dispatch is not Dispatch.FIXED:
        lists = {lm.name: [node for node, lms in roles.items() if lm.name in lms] for lm in cluster.lms}
        return json.dumps(all_alike(lists))
    first = {lm.name: next(node for node, lms in roles.items() if lm.name in lms) for lm in cluster.lms}
    return json.dumps({"reasoning": "first", "routes": {node.name: first for node in cluster.nodes}})


def good_deployment(cluster: Cluster, plan: str, node: str) -> str:
    """GPU-only roles on one vGPU each while they last, the others on two cores."""
    roles, n = json.loads(plan)["roles"][node], cluster.node_index[node]
    left, deployment = cluster.nodes[n].vgpus, {}
    for lm in cluster.lms:
        mode: dict[str, Any] = {"mode": "off", "amount": 0}
        if lm.name in roles and lm.gpu_only and left:
            mode, left = {"mode": "gpu", "amount": 1}, left - 1
        elif lm.name in roles and not lm.gpu_only:
            mode = {"mode": "cpu", "amount": 2}
        deployment[lm.name] = mode
    return json.dumps({"reasoning": "roles", "deployment": deployment})


@asynccontextmanager
async def bristol_run(
    folder: Path,
    family: str = "RL",
    slots: int = 4,
    *,
    run: str = "test",
    epoch_slots: int = 50,
    cluster: Cluster | None = None,
    **fillings: Any,
) -> AsyncIterator[GraphRun]:
    """A run on bristol in the twin, memory and checkpoints in `folder`; `fillings` replace parts of the family's."""
    cluster = replace(cluster or load_builtin("bristol"), epoch_slots=epoch_slots)
    testbed = TwinTestbed(Twin(cluster), load_workload("p1", cluster, 3))
    async with (
        open_memory(folder / "memory.sqlite") as memory,
        open_checkpointer(folder / "checkpoints.sqlite") as saver,
    ):
        made = make(family, cluster)
        deps = deps_of(made, testbed, memory, run)
        for role, filling in fillings.items():
            setattr(deps, role, filling)
        yield GraphRun(deps, saver, slots, replays=True)


def deps_of(family: Family, testbed: TwinTestbed, memory: Memory, run: str, seed: int = 3) -> Deps:
    """The family's rules in all roles."""
    planner = None if family.planner is None else Filling(family.planner_name, family.planner)
    return Deps(
        testbed=testbed,
        memory=memory,
        run=run,
        family=family.code,
        seed=seed,
        planner=planner,
        scheduler=Filling(family.scheduler_name, family.scheduler),
        deployer=Filling(family.deployer_name, family.deployer),
        fallbacks=Fallbacks.random(testbed),
        local=family.local,
    )


def uneven_agents() -> dict[str, Any]:
    """A planner who needs a repair, a scheduler who never answers well, deployers of whom one is away; on bristol."""
    cluster = load_builtin("bristol")
    plan = good_plan(cluster)
    replies: dict[str, Reply] = {
        "planner": lambda slot, node, messages, attempt: plan if attempt else plan.replace('"VM2"', '"VM9"'),
        "scheduler": lambda slot, node, messages, attempt: good_routing(cluster, plan) if slot else "{}",
        "deployer": lambda slot, node, messages, attempt: (
            None if node == "VM4" else good_deployment(cluster, plan, node or "")
        ),
    }
    return {role: Filling("model", asker=asker(reply)) for role, reply in replies.items()}
