"""What a deployment of one node must keep to: P1-1, modes, roles, and the Pending rule of P1 section V-D."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.constraints.violation import TOLERANCE, Rule, Violation
from domain.decisions import Allocation, Deployment
from domain.telemetry import Phase, Snapshot


def check_deployment(
    cluster: Cluster,
    deployment: Deployment,
    roles: NDArray[np.bool_] | None = None,
    snapshot: Snapshot | None = None,
) -> list[Violation]:
    """P1-1, modes, roles ([I], R_n of P1-13) and, with a snapshot, the Pending rule of P1 section V-D, for one node."""
    n, node = deployment.node, cluster.nodes[deployment.node]
    if len(deployment.allocations) != cluster.n_lms:
        return [
            Violation(
                Rule.SHAPE,
                node.name,
                abs(len(deployment.allocations) - cluster.n_lms),
                f"The deployment of {node.name} must give one allocation to each of the "
                f"{cluster.n_lms} LMs, not {len(deployment.allocations)}.",
            )
        ]
    found: list[Violation] = []
    pending = snapshot is not None and snapshot.has_pending(n)
    for i, allocation in enumerate(deployment.allocations):
        if not (allocation.cores or allocation.vgpus):
            continue  # off is always sound
        found += _check_mode(cluster, n, i, allocation)
        if roles is not None and not roles[i]:
            name = cluster.lms[i].name
            found.append(
                Violation(
                    Rule.ROLE,
                    f"{node.name}/{name}",
                    1.0,
                    f"{name} is not among the roles of {node.name}; turn it off there.",
                )
            )
        if pending and snapshot is not None:
            found += _check_pending(cluster, snapshot, n, i, allocation)
    return found + _check_sums(cluster, n, deployment.allocations)


def _check_mode(cluster: Cluster, n: int, i: int, allocation: Allocation) -> list[Violation]:
    node, lm = cluster.nodes[n], cluster.lms[i]
    place = f"{node.name}/{lm.name}"
    if allocation.cores < 0 or allocation.vgpus < 0:
        return [
            Violation(
                Rule.MODE,
                place,
                float(-min(allocation.cores, allocation.vgpus)),
                f"{lm.name} on {node.name} asks for a negative amount; use 0 for off.",
            )
        ]
    if allocation.cores and allocation.vgpus:
        return [
            Violation(
                Rule.MODE,
                place,
                1.0,
                f"{lm.name} on {node.name} asks for cores and vGPUs; choose one of the two.",
            )
        ]
    if allocation.vgpus and not cluster.runs_on_gpu(n, i):
        return [
            Violation(
                Rule.FEASIBLE,
                place,
                float(allocation.vgpus),
                f"{lm.name} cannot run on a GPU of {node.name}; "
                + ("the node has none." if not node.vgpus else "it does not fit or its speed is unknown."),
            )
        ]
    if allocation.cores and lm.gpu_only:
        return [
            Violation(
                Rule.GPU_ONLY,
                place,
                float(allocation.cores),
                f"{lm.name} runs on vGPUs only; on {node.name} give it vGPUs or turn it off.",
            )
        ]
    if allocation.cores and not math.isfinite(cluster.cpu_seconds(n, i, allocation.cores)):
        return [
            Violation(
                Rule.MODE,
                place,
                float(allocation.cores),
                f"{lm.name} cannot run on {allocation.cores} cores of {node.name}.",
            )
        ]
    return []


def _check_pending(cluster: Cluster, snapshot: Snapshot, n: int, i: int, allocation: Allocation) -> list[Violation]:
    if allocation == snapshot.allocation(n, i) and snapshot.phase[n, i] != Phase.TERMINATING:
        return []
    node, lm = cluster.nodes[n], cluster.lms[i]
    return [
        Violation(
            Rule.PENDING,
            f"{node.name}/{lm.name}",
            1.0,
            f"{node.name} has a Pending pod; until it runs, {lm.name} there can only stay or be turned off.",
        )
    ]


def _check_sums(cluster: Cluster, n: int, allocations: tuple[Allocation, ...]) -> list[Violation]:
    node = cluster.nodes[n]
    vgpus, cores, ram_gb, vram_gb = 0, 0, 0.0, 0.0
    for lm, a in zip(cluster.lms, allocations, strict=True):
        if a.cores or a.vgpus:
            vgpus += a.vgpus
            cores += a.demand_cores(lm)
            ram_gb += lm.ram_gb
            vram_gb += lm.vram_gb if a.vgpus else 0.0
    if (
        vgpus <= node.vgpus
        and cores <= node.cpu_cores
        and ram_gb <= node.ram_gb + TOLERANCE
        and vram_gb <= node.vram_gb + TOLERANCE
    ):
        return []
    sums: tuple[tuple[Rule, float, float, str], ...] = (
        (Rule.VGPUS, vgpus, node.vgpus, "vGPUs"),
        (Rule.CORES, cores, node.cpu_cores, "CPU cores"),
        (Rule.RAM, ram_gb, node.ram_gb, "GB of RAM"),
        (Rule.VRAM, vram_gb, node.vram_gb, "GB of vRAM"),
    )
    return [
        Violation(
            rule,
            node.name,
            used - limit,
            f"{node.name} has {limit:g} {unit}, the active LMs ask for {used:g}; free {used - limit:g}.",
        )
        for rule, used, limit, unit in sums
        if used > limit + TOLERANCE
    ]
