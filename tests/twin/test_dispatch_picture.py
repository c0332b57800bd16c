"""The picture of the three ways to dispatch: what it draws is what the twin plays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.dispatch_picture import NODES, PICTURE, PROMPT_S, REQUESTS, bars, latencies, picture
from domain.cluster import Cluster, Node
from domain.decisions import Allocation, Deployment, RoutingPlan
from domain.large_model import CpuProfile
from domain.serving import Dispatch, Serving
from domain.workload import Arrivals
from tests.clusters import CHAT
from twin.twin import Twin

HOUSE = Path(__file__).parents[2]


def equal_pods(dispatch: Dispatch) -> Cluster:
    lm = replace(CHAT, start_cpu_s=0.0, cpu_profiles={"C": CpuProfile(((1, PROMPT_S),))}, gpu_profiles={})
    nodes = tuple(Node(name, "hill", "C", cpu_cores=1, ram_gb=16.0) for name in NODES)
    nothing = np.zeros((len(nodes), len(nodes)))
    return Cluster("three", nodes, (lm,), nothing, nothing, serving=Serving(dispatch))


@pytest.mark.parametrize("dispatch", list(Dispatch))
def test_the_twin_needs_as_long_as_the_picture_says(dispatch: Dispatch) -> None:
    cluster = equal_pods(dispatch)
    twin = Twin(cluster)
    for n in range(cluster.n_nodes):
        twin.deploy(Deployment(n, (Allocation(1, 0),)))
    fixed = RoutingPlan(np.arange(cluster.n_nodes)[:, None])
    twin.route(fixed if dispatch is Dispatch.FIXED else RoutingPlan.open(np.ones((1, 1, cluster.n_nodes))))
    came = [np.array([getattr(request, name) for request in REQUESTS]) for name in ("arrival_s", "origin", "prompts")]
    records = twin.advance(Arrivals(came[0], came[1], np.zeros(len(REQUESTS), dtype=np.int64), came[2]))
    order = np.argsort(records.request)
    assert records.latency_s[order].tolist() == pytest.approx(latencies(bars(dispatch)), abs=1e-9)


def test_the_picture_is_the_one_that_is_drawn() -> None:
    assert (HOUSE / PICTURE).read_text(encoding="utf-8") == picture()
