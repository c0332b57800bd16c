"""A hand-made cluster that is small enough to work out on paper, and what models would have to answer on it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from domain.cluster import Cluster, Node
from domain.decisions import Deployment, MacroPolicy, RoutingPlan
from domain.large_model import CpuProfile, GpuProfile, LargeModel
from domain.serving import Dispatch, Serving
from domain.telemetry import Phase, Snapshot

CHAT = LargeModel(
    name="chat",
    model="Small talker",
    modality_in=("text",),
    modality_out="text",
    ram_gb=3.0,
    vram_gb=1.0,
    gpu_only=False,
    host_cores=1,
    image_gb=7.5,
    uplink_bytes=1000.0,
    downlink_bytes=1000.0,
    start_cpu_s=8.0,
    start_gpu_s=9.0,
    stop_s=3.0,
    cpu_profiles={"C": CpuProfile(((1, 4.0), (4, 2.0)))},
    gpu_profiles={"G": GpuProfile(0.5, 0.1)},
)
DRAW = dataclasses.replace(
    CHAT,
    name="draw",
    model="Painter",
    modality_out="image",
    ram_gb=4.0,
    vram_gb=5.0,
    gpu_only=True,
    downlink_bytes=400_000.0,
    start_gpu_s=29.0,
    cpu_profiles={},
    gpu_profiles={"G": GpuProfile(0.0, 5.0)},
)


def tiny(**changes: Any) -> Cluster:
    """Two nodes, `north` on CPU alone and `south` with one GPU of two vGPUs; two LMs, `draw` needs the GPU.

    Epochs have four slots; `changes` are fields of Cluster.
    """
    cluster = Cluster(
        name="tiny",
        nodes=(
            Node("north", "hill", "C", cpu_cores=8, ram_gb=16.0),
            Node("south", "dale", "C", cpu_cores=4, ram_gb=8.0, gpu_model="G", gpus=1, vgpus_per_gpu=2, vram_gb=8.0),
        ),
        lms=(CHAT, DRAW),
        latency_s=np.array([[0.0, 0.001], [0.001, 0.0]]),
        seconds_per_byte=np.array([[0.0, 1e-9], [1e-9, 0.0]]),
        epoch_slots=4,
    )
    return dataclasses.replace(cluster, **changes)


def opened(cluster: Cluster, dispatch: Dispatch = Dispatch.ARRIVAL, **settings: Any) -> Cluster:
    """Return the cluster with origins that choose; `settings` are other fields of Serving."""
    return dataclasses.replace(cluster, serving=Serving(dispatch, **settings))


def renamed(cluster: Cluster, names: dict[str, str]) -> Cluster:
    """Return the cluster with other names of nodes and LMs."""
    return dataclasses.replace(
        cluster,
        nodes=tuple(dataclasses.replace(node, name=names.get(node.name, node.name)) for node in cluster.nodes),
        lms=tuple(dataclasses.replace(lm, name=names.get(lm.name, lm.name)) for lm in cluster.lms),
    )


def quiet(cluster: Cluster, slot: int = 0, **changes: Any) -> Snapshot:
    """Return the snapshot of a cluster on which nothing is deployed and nothing waits; `changes` are its fields."""
    nodes, shape = cluster.nodes, (cluster.n_nodes, cluster.n_lms)
    snapshot = Snapshot(
        slot=slot,
        time_s=slot * cluster.slot_s,
        backlog_prompts=np.zeros(shape, dtype=np.int64),
        backlog_requests=np.zeros(shape, dtype=np.int64),
        oldest_wait_s=np.zeros(shape),
        phase=np.full(shape, int(Phase.OFF), dtype=np.int64),
        phase_left_s=np.zeros(shape),
        cores=np.zeros(shape, dtype=np.int64),
        vgpus=np.zeros(shape, dtype=np.int64),
        free_cores=np.array([node.cpu_cores for node in nodes], dtype=np.int64),
        free_ram_gb=np.array([node.ram_gb for node in nodes]),
        free_vgpus=np.array([node.vgpus for node in nodes], dtype=np.int64),
        free_vram_gb=np.array([node.vram_gb for node in nodes]),
        arrived_requests=np.zeros(shape, dtype=np.int64),
        arrived_prompts=np.zeros(shape, dtype=np.int64),
        busy_s=np.zeros(shape),
        age_s=np.zeros(cluster.n_nodes),
    )
    return dataclasses.replace(snapshot, **changes)


def planner_answer(cluster: Cluster, policy: MacroPolicy) -> dict[str, Any]:
    """Write the macro-policy in the form in which a planner answers, every feasible share included."""
    routing = {
        lm.name: {
            node.name: float(policy.probabilities[i, n])
            for n, node in enumerate(cluster.nodes)
            if cluster.feasible[n, i]
        }
        for i, lm in enumerate(cluster.lms)
        if cluster.feasible[:, i].any()
    }
    return {"reasoning": "Because.", "routing": routing, "roles": policy.to_json(cluster)["roles"]}


def scheduler_answer(cluster: Cluster, plan: RoutingPlan) -> dict[str, Any]:
    """Write the routing plan in the form in which a scheduler answers; pairs that lead nowhere are left out.

    On a cluster whose origins choose, a fixed plan is one that allows its targets.
    """
    rows = plan.to_json(cluster)
    if cluster.serving.dispatch is not Dispatch.FIXED:
        return {"reasoning": "Because.", "routes": [_entry(cluster, origin, row) for origin, row in rows.items()]}
    routes = {origin: {lm: to for lm, to in row.items() if to is not None} for origin, row in rows.items()}
    return {"reasoning": "Because.", "routes": routes}


def all_alike(nodes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """An open answer: of each LM the nodes that all origins may use, with weight 1; the others are left out."""
    weights = {lm: dict.fromkeys(names, 1) for lm, names in nodes.items()}
    return {"reasoning": "all", "routes": [{"origin": "*", "nodes": weights}]}


def _entry(cluster: Cluster, origin: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """What one origin may use, or all; of each LM every node that can run it."""
    nodes = {}
    for lm, able in zip(cluster.lms, cluster.feasible.T, strict=True):
        own = row[lm.name] or {}
        allowed = {own: 1.0} if isinstance(own, str) else own
        names = [node.name for node, runs in zip(cluster.nodes, able, strict=True) if runs or node.name in allowed]
        if able.any():
            nodes[lm.name] = {name: allowed.get(name, 0.0) for name in names}
    return {"origin": origin, "nodes": nodes}


def deployer_answer(cluster: Cluster, deployment: Deployment) -> dict[str, Any]:
    """Write the deployment in the form in which a deployer answers."""
    cells = {}
    for i, (lm, allocation) in enumerate(zip(cluster.lms, deployment.allocations, strict=True)):
        if cluster.feasible[deployment.node, i]:
            mode = "off" if allocation.is_off else "gpu" if allocation.vgpus else "cpu"
            cells[lm.name] = {"mode": mode, "amount": allocation.vgpus or allocation.cores}
    return {"reasoning": "Because.", "deployment": cells}


def as_text(answer: dict[str, Any]) -> str:
    """Write an answer as a model would."""
    return json.dumps(answer, ensure_ascii=False)
