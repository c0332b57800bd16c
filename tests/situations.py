"""Clusters, snapshots and macro-policies, drawn at random or as in P1, for rules to decide in."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from domain.cluster import Cluster, Node
from domain.decisions import MacroPolicy
from domain.errors import InputError
from domain.large_model import CpuProfile, GpuProfile, LargeModel
from domain.telemetry import Phase, Snapshot
from policies.random import RandomPlanner
from policies.standard import catalogue

EPYC, A5000 = "AMD EPYC 7453", "NVIDIA A5000"


def lm(name: str, ram: float, vram: float = 4.0, gpu_only: bool = False, **changes: Any) -> LargeModel:
    profile = CpuProfile(tuple((k, 1.0 + 8.0 / k) for k in (1, 2, 4, 8, 16)))
    made = LargeModel(
        name=name, model=name, modality_in=("text",), modality_out="text", ram_gb=ram, vram_gb=vram, gpu_only=gpu_only,
        host_cores=1, image_gb=10.0, uplink_bytes=1e3, downlink_bytes=1e3, start_cpu_s=6.0,
        start_gpu_s=12.0, stop_s=4.0,
        cpu_profiles={} if gpu_only else {EPYC: profile}, gpu_profiles={A5000: GpuProfile(0.2, 1.0)},
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def cluster_of(nodes: list[Node], lms: list[LargeModel]) -> Cluster:
    n = len(nodes)
    return Cluster("small", tuple(nodes), tuple(lms), np.full((n, n), 1e-3) * (1 - np.eye(n)), np.zeros((n, n)))


def node(name: str, cores: int = 16, ram: float = 24.0, gpus: int = 0, per_gpu: int = 2) -> Node:
    return Node(name, "site", EPYC, cores, ram, A5000 if gpus else None, gpus, per_gpu, 24.0 * gpus)


def bristol() -> Cluster:
    """P1's table II and section V-B: VM2 has no GPU, VM3 to VM6 have one, VM7 has two, each split into two vGPUs."""
    nodes = [node("vm2", cores=24, ram=32.0), *(node(f"vm{k}", gpus=1) for k in range(3, 7)), node("vm7", gpus=2)]
    lms = [
        lm("LM1", ram=3.0), lm("LM2", ram=9.0), lm("LM3", ram=2.5, gpu_only=True, modality_in=("image",)),
        lm("LM4", ram=3.5, gpu_only=True, modality_out="image"),
    ]  # fmt: skip
    return cluster_of(nodes, lms)


def random_cluster(seed: int) -> Cluster:
    rng = np.random.default_rng(seed)
    nodes = []
    for k in range(rng.integers(1, 6)):
        gpus, per_gpu = int(rng.integers(0, 3)), int(rng.integers(1, 4))
        nodes.append(node(f"n{k}", int(rng.integers(2, 25)), float(rng.uniform(4, 32)), gpus, per_gpu))
    lms = []
    for i in range(rng.integers(1, 5)):
        points = tuple((int(k), 9.0 / k + 0.5) for k in np.unique(rng.integers(1, 20, size=3)))
        lms.append(
            lm(
                f"m{i}",
                float(rng.uniform(0.5, 14)),
                float(rng.uniform(1, 20)),
                bool(rng.random() < 0.3),
                host_cores=int(rng.integers(0, 4)),
                cpu_profiles={EPYC: CpuProfile(points)},
                gpu_profiles={A5000: GpuProfile(0.1, 1.0)} if rng.random() < 0.8 else {},
            )  # fmt: skip
        )
    return cluster_of(nodes, lms)


def snapshot_of(cluster: Cluster, **columns: Any) -> Snapshot:
    """Nothing waits and nothing runs, but for the columns given; every array is read-only, as rules must leave it."""
    shape = (cluster.n_nodes, cluster.n_lms)
    counts = ("backlog_prompts", "backlog_requests", "phase", "cores", "vgpus", "arrived_requests", "arrived_prompts")
    seconds = ("oldest_wait_s", "phase_left_s", "busy_s")
    values: dict[str, Any] = {name: np.zeros(shape, dtype=np.int64) for name in counts}
    values |= {name: np.zeros(shape) for name in seconds}
    values |= {
        "slot": 0, "time_s": 0.0, "age_s": np.zeros(cluster.n_nodes),
        "free_cores": np.array([n.cpu_cores for n in cluster.nodes]),
        "free_ram_gb": np.array([n.ram_gb for n in cluster.nodes]),
        "free_vgpus": np.array([n.vgpus for n in cluster.nodes]),
        "free_vram_gb": np.array([n.vram_gb for n in cluster.nodes]),
    }  # fmt: skip
    values |= columns
    for value in values.values():
        if isinstance(value, np.ndarray):
            value.setflags(write=False)
    return Snapshot(**values)


def random_snapshot(cluster: Cluster, rng: np.random.Generator) -> Snapshot:
    """Pods of the standard sizes and of others, in all phases; what they hold is not free."""
    shape = (cluster.n_nodes, cluster.n_lms)
    phase = rng.choice(5, p=[0.3, 0.1, 0.4, 0.15, 0.05], size=shape)
    prompts = rng.integers(0, 40, size=shape) * (rng.random(shape) < 0.7)
    cores, vgpus = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    free: dict[str, list[float]] = {"free_cores": [], "free_ram_gb": [], "free_vgpus": [], "free_vram_gb": []}
    for n, kind in enumerate(catalogue(cluster)):
        pattern = kind.deployment(n, int(rng.integers(len(kind)))).allocations
        used = np.zeros(4)
        for i, a in enumerate(pattern):
            phase[n, i] = Phase.OFF if a.is_off else max(phase[n, i], Phase.STARTING)
            cores[n, i] = a.cores + (a.cores > 1 and rng.random() < 0.2) * -1  # now and then another size
            vgpus[n, i] = a.vgpus
            if phase[n, i] in (Phase.STARTING, Phase.READY, Phase.TERMINATING):
                model = cluster.lms[i]
                used += [a.demand_cores(model), model.ram_gb, a.vgpus, model.vram_gb * a.vgpus]
        which = cluster.nodes[n]
        for name, total, held in zip(
            free, (which.cpu_cores, which.ram_gb, which.vgpus, which.vram_gb), used, strict=True
        ):
            free[name].append(total - held)
    slot = int(rng.integers(0, 1000))
    columns = {name: np.array(values) for name, values in free.items()}
    return snapshot_of(
        cluster, slot=slot, phase=phase, cores=cores, vgpus=vgpus, backlog_prompts=prompts,
        backlog_requests=(prompts + 3) // 4, **columns,
    )  # fmt: skip


def sound_policies(cluster: Cluster, rng: np.random.Generator) -> list[MacroPolicy]:
    policies = [MacroPolicy.unrestricted(cluster)]
    try:
        policies.append(RandomPlanner(cluster).plan(snapshot_of(cluster), [], rng))
    except InputError:  # not every random cluster can have all of its LMs on at once
        return policies
    return policies


SITUATIONS = range(40)


def situation(seed: int) -> tuple[Cluster, Snapshot, list[MacroPolicy]]:
    cluster = bristol() if seed % 4 == 0 else random_cluster(seed)
    rng = np.random.default_rng(seed)
    return cluster, random_snapshot(cluster, rng), sound_policies(cluster, rng)


def decide(role: str, rule: Any, snapshot: Snapshot, policy: MacroPolicy, rng: np.random.Generator) -> Any:
    """The decision as something that compares."""
    if role == "planner":
        made = rule.plan(snapshot, [], rng)
        return made.probabilities.tolist(), made.roles.tolist()
    if role == "scheduler":
        return rule.schedule(snapshot, policy, rng).targets.tolist()
    return [rule.deploy(snapshot, n, policy, rng) for n in range(snapshot.phase.shape[0])]
