"""Seeded random scenarios, small and mean: every feature of docs/twin.md turns up in some of them.

`ugly` ones have random real numbers for all durations, so that no two things happen at the same instant. `tied` ones
have small powers of two, so that many things do, and rounding never decides which comes first. tests.oracle.decimals
has those whose ties no double can hold, tests.oracle.served those that are served otherwise than in P1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster, Node
from domain.decisions import NOWHERE, OFF, Allocation, Deployment, RoutingPlan
from domain.large_model import CpuProfile, GpuProfile, LargeModel
from domain.workload import Arrivals

CPUS = ("epyc", "xeon")
GPUS = ("a5000", "t4")


@dataclass(frozen=True)
class Scenario:
    """Everything that a simulation needs; `plans[t]` and `deployments[t]` are those of slot t."""

    cluster: Cluster
    arrivals: Arrivals
    plans: list[RoutingPlan | None]
    deployments: list[list[Deployment]]
    slots: int


def ugly(seed: int) -> Scenario:
    """Return a scenario without ties."""
    rng = np.random.default_rng([seed, 1])
    slot_s = float(rng.uniform(5.0, 40.0))
    n, i, slots = int(rng.integers(1, 5)), int(rng.integers(1, 5)), int(rng.integers(5, 31))
    longest_s = slot_s * float(rng.choice([0.1, 1.0, 3.0]))
    lms = tuple(_ugly_lm(rng, k, slot_s, longest_s) for k in range(i))
    between = ~np.eye(n, dtype=np.bool_)
    slowest_s = float(rng.choice([0.01, 1.0, slot_s, 3.0 * slot_s]))
    cluster = Cluster(
        name=f"ugly-{seed}",
        nodes=tuple(node_for(rng, k, lms, vgpus_per_gpu=4) for k in range(n)),
        lms=lms,
        latency_s=np.exp(rng.uniform(np.log(1e-3), np.log(slowest_s), (n, n))) * between,
        seconds_per_byte=np.exp(rng.uniform(np.log(1e-9), np.log(1e-6 * slowest_s), (n, n))) * between,
        slot_s=slot_s,
        deadline_s=_between(rng, 0.5 * slot_s, 15.0 * slot_s),
        pending_timeout_s=_between(rng, 0.2 * slot_s, 6.0 * slot_s),
    )
    count = int(rng.integers(20, 160))
    times = rng.uniform(0.0, slots * slot_s, count)
    return played_on(rng, cluster, times, slots, most_vgpus=4)


def tied(seed: int, most_vgpus: int = 1) -> Scenario:
    """Return a scenario in which most things happen at whole seconds, slots being eight seconds long."""
    rng = np.random.default_rng([seed, 2])
    n, i, slots = int(rng.integers(1, 4)), int(rng.integers(1, 4)), int(rng.integers(5, 31))
    lms = tuple(_tied_lm(rng, k) for k in range(i))
    between = ~np.eye(n, dtype=np.bool_)
    cluster = Cluster(
        name=f"tied-{seed}",
        nodes=tuple(node_for(rng, k, lms, vgpus_per_gpu=2) for k in range(n)),
        lms=lms,
        latency_s=rng.choice([0.0, 1.0, 2.0, 8.0], (n, n)) * between,
        seconds_per_byte=rng.choice([0.0, 0.5, 1.0], (n, n)) * between,
        slot_s=8.0,
        deadline_s=float(rng.choice([4, 8, 16, 32, 64, 128])),
        pending_timeout_s=float(rng.choice([0, 4, 8, 12, 16, 32])),
    )
    times = rng.integers(0, slots * 8, int(rng.integers(20, 160))).astype(np.float64)
    return played_on(rng, cluster, times, slots, most_vgpus)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number, small ones as likely as large ones."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def node_for(rng: np.random.Generator, k: int, lms: tuple[LargeModel, ...], vgpus_per_gpu: int) -> Node:
    """Draw a node on which sometimes all LMs fit and sometimes hardly one, and no GPU holds the largest."""
    gpus, plenty = int(rng.integers(0, 4)), float(rng.uniform(0.7, 3.0))
    unified = bool(gpus and rng.random() < 0.2)
    on_vgpus = sum(lm.vram_gb for lm in lms)
    return Node(
        name=f"node{k}",
        site="site",
        cpu_model=str(rng.choice(CPUS)),
        cpu_cores=int(rng.integers(2, 17)),
        ram_gb=(sum(lm.ram_gb for lm in lms) + on_vgpus * unified) * float(rng.uniform(0.6, 1.8)),
        gpu_model=str(rng.choice(GPUS)) if gpus else None,
        gpus=gpus,
        vgpus_per_gpu=int(rng.integers(1, vgpus_per_gpu + 1)),
        vram_gb=on_vgpus * plenty if gpus and not unified else 0.0,
        unified_memory=unified,
    )


def _ugly_lm(rng: np.random.Generator, k: int, slot_s: float, longest_s: float) -> LargeModel:
    def duration() -> float:
        return _between(rng, 0.01 * slot_s, longest_s)

    def cpu_profile() -> CpuProfile:
        slowest, least = _between(rng, 0.01 * slot_s, slot_s), int(rng.integers(1, 3))
        cores = sorted({least, least + int(rng.integers(0, 3)), least + int(rng.integers(0, 6))})
        return CpuProfile(tuple((c, slowest * (0.2 + 0.8 * least / c)) for c in cores))

    def gpu_profile() -> GpuProfile:
        return GpuProfile(_between(rng, 1e-3 * slot_s, 0.1 * slot_s), _between(rng, 5e-3 * slot_s, 0.5 * slot_s))

    return LargeModel(
        name=f"lm{k}",
        model="any",
        modality_in=("text",),
        modality_out="text",
        ram_gb=float(rng.uniform(0.5, 8.0)),
        vram_gb=float(rng.uniform(0.5, 8.0)),
        gpu_only=bool(rng.random() < 0.1),
        host_cores=int(rng.integers(0, 4)),
        image_gb=1.0,
        uplink_bytes=_between(rng, 1e4, 5e5),
        downlink_bytes=_between(rng, 1e4, 5e5),
        start_cpu_s=duration(),
        start_gpu_s=duration(),
        stop_s=duration(),
        unified_gb=float(rng.uniform(2.0, 16.0)) if rng.random() < 0.5 else None,
        cpu_profiles={name: cpu_profile() for name in CPUS if rng.random() < 0.95},
        gpu_profiles={name: gpu_profile() for name in GPUS if rng.random() < 0.95},
    )


def _tied_lm(rng: np.random.Generator, k: int) -> LargeModel:
    def power_of_two() -> float:
        return float(rng.choice([0.25, 0.5, 1.0, 2.0, 4.0]))

    def duration() -> float:
        return float(rng.choice([0, 1, 2, 4, 8, 12, 16]))

    return LargeModel(
        name=f"lm{k}",
        model="any",
        modality_in=("text",),
        modality_out="text",
        ram_gb=float(rng.integers(1, 4)),
        vram_gb=float(rng.integers(1, 4)),
        gpu_only=False,
        host_cores=int(rng.integers(0, 2)),
        image_gb=1.0,
        uplink_bytes=float(rng.integers(0, 3)),
        downlink_bytes=float(rng.integers(0, 3)),
        start_cpu_s=duration(),
        start_gpu_s=duration(),
        stop_s=duration(),
        cpu_profiles={name: CpuProfile(((1, power_of_two()),)) for name in CPUS},
        # No fixed part, so that pods that share one GPU are as often slower as they are many.
        gpu_profiles={name: GpuProfile(0.0, power_of_two()) for name in GPUS},
    )


def played_on(
    rng: np.random.Generator, cluster: Cluster, times: NDArray[np.float64], slots: int, most_vgpus: int
) -> Scenario:
    """Draw who asks for what at those times, and what is decided."""
    n, i, count = cluster.n_nodes, cluster.n_lms, len(times)
    arrivals = Arrivals.of(times, rng.integers(0, n, count), rng.integers(0, i, count), rng.integers(0, 9, count))
    nowhere = float(rng.choice([0.0, 0.05, 0.3]))
    deployments = _deployments(rng, cluster, slots, most_vgpus)
    plans: list[RoutingPlan | None] = []
    for t in range(slots):
        # Mostly to where a deployment of the slot wants the LM, else anywhere.
        wanted = np.zeros((n, i), dtype=np.bool_)
        for deployment in deployments[t]:
            wanted[deployment.node] = [not allocation.is_off for allocation in deployment.allocations]
        targets = (rng.random((n, n, i)) + wanted * rng.choice([0.0, 0.5, 1.0])).argmax(axis=1)
        plans.append(RoutingPlan(np.where(rng.random((n, i)) < nowhere, NOWHERE, targets)))
    return Scenario(cluster, arrivals, plans, deployments, slots)


def _deployments(rng: np.random.Generator, cluster: Cluster, slots: int, most_vgpus: int) -> list[list[Deployment]]:
    """Deployments that change their mind at random, ask too much now and then, and skip slots."""
    change, deploy = float(rng.choice([0.1, 0.2, 0.4])), float(rng.choice([0.5, 1.0]))
    n_lms = cluster.n_lms
    wish = [[_allocation(rng, cluster, n, i, most_vgpus) for i in range(n_lms)] for n in range(cluster.n_nodes)]
    deployments = []
    for _ in range(slots):
        for n, row in enumerate(wish):
            for i in np.flatnonzero(rng.random(n_lms) < change):
                row[i] = _allocation(rng, cluster, n, int(i), most_vgpus)
        nodes = np.flatnonzero(rng.random(cluster.n_nodes) < deploy)
        deployments.append([Deployment(int(n), tuple(wish[n])) for n in nodes])
    return deployments


def _allocation(rng: np.random.Generator, cluster: Cluster, n: int, i: int, most_vgpus: int) -> Allocation:
    """Draw what the LM can run with on the node, alone; now and then more than the node has."""
    node, kind = cluster.nodes[n], rng.random()
    if kind < 0.1:
        return OFF
    cores = node.cpu_cores + 1 if kind < 0.11 else int(rng.integers(1, max(4, node.cpu_cores // 2)))
    vgpus = node.vgpus + 1 if kind > 0.99 else int(rng.integers(1, most_vgpus + 1))
    on_gpu = node.vgpus > 0 and np.isfinite(cluster.gpu_seconds(n, i))
    on_cpu = not cluster.lms[i].gpu_only and np.isfinite(cluster.cpu_seconds(n, i, min(cores, node.cpu_cores)))
    if on_gpu and (kind > 0.5 or not on_cpu):
        return Allocation(vgpus=vgpus)
    return Allocation(cores=cores) if on_cpu else OFF
