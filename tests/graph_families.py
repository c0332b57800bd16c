"""Runs of GraphFamilies on the tiny cluster, as the tests of agents need them."""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from domain.cluster import Cluster
from domain.ledger import Case, Decision
from graph.models.client import ModelSettings
from memory import open_memory
from runtime.agents.request import AgentRequest
from runtime.agents.settings import read_request
from runtime.results.summary import FamilyResult
from runtime.runs.graph_families import MEMORY, GraphFamilies
from runtime.runs.progress import RunProgress
from tests.clusters import tiny
from twin.workloads import load_workload

CLUSTER = tiny(deadline_s=120.0)
"""Epochs of four slots, and four slots after the last request until every fate is known."""


@dataclass
class Done:
    """A run that is over."""

    result: FamilyResult
    decisions: list[Decision]
    cases: list[Case]
    records: bytes
    home: Path


def prepared(asked: AgentRequest, cluster: Cluster, slots: int, environ: dict[str, str]) -> GraphFamilies:
    """The way through the graph, with nothing of the caller's environment."""
    settings = read_request(asked, cluster.slot_s, environ)
    return GraphFamilies(cluster, settings, lambda seed: load_workload("p1", cluster, seed), slots, environ=environ)


def run_family(
    home: Path,
    family: str,
    slots: int = 4,
    *,
    cluster: Cluster = CLUSTER,
    environ: dict[str, str] | None = None,
    families: GraphFamilies | None = None,
    **asked: Any,
) -> Done:
    """Run a family; `asked` are fields of AgentRequest. Nothing is rehearsed or waited for unless they say so."""
    home.mkdir(exist_ok=True)
    draft = home / "draft"
    draft.mkdir(exist_ok=True)
    graph = families or prepared(
        AgentRequest(**{"rehearse": "off", "patience_s": 0.0, **asked}), cluster, slots, environ or {}
    )
    quiet = RunProgress(Console(file=io.StringIO()), "test", slots)
    result = graph.run(home, draft, family, 1, load_workload("p1", cluster, 1), quiet)
    decisions, cases = asyncio.run(_remembered(graph.settings.memory or home / MEMORY, cluster))
    return Done(result, decisions, cases, (draft / "records.parquet").read_bytes(), home)


async def _remembered(target: Path | str, cluster: Cluster) -> tuple[list[Decision], list[Case]]:
    async with open_memory(target) as memory:
        runs = await memory.runs()
        decisions = [entry for run in runs for entry in await memory.decisions(run)]
        return decisions, await memory.cases(cluster.setting)


def model(name: str = "scripted", **changes: Any) -> ModelSettings:
    """Settings of a model that is never reached."""
    return ModelSettings(name, base_url="http://127.0.0.1:9/v1", **changes)
