"""Answers that pass every rule, for servers and scripted models that play planner, scheduler and deployers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from aiohttp import web

from domain.cluster import Cluster
from domain.decisions import MacroPolicy
from domain.serving import Dispatch
from graph.models.preflight import QUESTION
from policies.random import RandomPlanner
from policies.roles import generator
from tests.clusters import all_alike, planner_answer
from tests.fake_openai import Behaviour, FakeOpenAI, completion, fake_openai
from twin.twin import Twin

Answer = Callable[[str, Sequence[str]], str]
"""Role and contents of the messages to an answer."""


def sound_answers(cluster: Cluster, seed: int = 5) -> Answer:
    """One macro-policy for good; routes to the first node with the role; roles on, GPU-only LMs on one vGPU each.

    Where origins choose, they may use all nodes with the role.
    """
    policy = RandomPlanner(cluster).plan(Twin(cluster).observe(), (), generator(seed))

    def answer(role: str, messages: Sequence[str]) -> str:
        if role == "planner":
            return json.dumps(planner_answer(cluster, policy))
        if role == "scheduler":
            return json.dumps(_routes(cluster, policy))
        found = re.search(r'# The node\s+"([^"]+)"', "\n".join(messages))
        assert found, messages
        return json.dumps(_deployment(cluster, policy, cluster.node_index[found[1]]))

    return answer


def _routes(cluster: Cluster, policy: MacroPolicy) -> dict[str, Any]:
    if cluster.serving.dispatch is not Dispatch.FIXED:
        names = [node.name for node in cluster.nodes]
        return all_alike(
            {lm.name: [names[n] for n in np.flatnonzero(policy.roles[:, i])] for i, lm in enumerate(cluster.lms)}
        )
    first = {
        lm.name: next(node.name for n, node in enumerate(cluster.nodes) if policy.roles[n, i])
        for i, lm in enumerate(cluster.lms)
    }
    return {"reasoning": "first", "routes": {node.name: first for node in cluster.nodes}}


def _deployment(cluster: Cluster, policy: MacroPolicy, n: int) -> dict[str, Any]:
    left, cells = cluster.nodes[n].vgpus, {}
    for i, lm in enumerate(cluster.lms):
        if not cluster.feasible[n, i]:
            continue
        cell: dict[str, Any] = {"mode": "off", "amount": 0}
        if policy.roles[n, i] and lm.gpu_only and left:
            cell, left = {"mode": "gpu", "amount": 1}, left - 1
        elif policy.roles[n, i] and not lm.gpu_only:
            cell = {"mode": "cpu", "amount": 1}
        cells[lm.name] = cell
    return {"reasoning": "roles", "deployment": cells}


def role_of(body: dict[str, Any]) -> str:
    """The role that a request is for: the name of the schema that the answer is held to."""
    return str(body["response_format"]["json_schema"]["name"])


def is_decision(body: dict[str, Any]) -> bool:
    """False for the question before the first slot."""
    return contents(body) != [message["content"] for message in QUESTION]


def contents(body: dict[str, Any]) -> list[str]:
    """The messages of a request as texts."""
    return [str(message["content"]) for message in body["messages"]]


def decides(answer: Answer) -> Behaviour:
    """Serve the answers over HTTP."""

    async def behave(_: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(completion(body, {"content": answer(role_of(body), contents(body))}))

    return behave


@contextlib.contextmanager
def serving(behaviour: Behaviour) -> Iterator[FakeOpenAI]:
    """Serve from a thread of its own, for runs that have an event loop of their own."""
    started, stop, servers = threading.Event(), asyncio.Event(), list[FakeOpenAI]()
    loops = list[asyncio.AbstractEventLoop]()

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with fake_openai(behaviour) as server:
            servers.append(server)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    started.wait(10)
    try:
        yield servers[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join()
