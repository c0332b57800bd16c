"""What a deployment of one node must keep to: capacity, modes, roles, and the Pending rule of P1 section V-D."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.constraints.capacity import check_capacity
from domain.constraints.violation import Rule, Violation
from domain.decisions import Allocation, Deployment
from domain.telemetry import Phase, Snapshot


def check_deployment(
    cluster: Cluster,
    deployment: Deployment,
    roles: NDArray[np.bool_] | None = None,
    snapshot: Snapshot | None = None,
) -> list[Violation]:
    """Capacity, modes, roles ([I], R_n of P1-13) and, with a snapshot, the Pending rule of P1 section V-D.

    Capacity is P1-1, and that each GPU can hold what lies on it.
    """
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
    return found + check_capacity(cluster, n, deployment.allocations)


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
    if allocation.vgpus:
        least = cluster.least_vgpus(n, i)
        if not 0 < least <= allocation.vgpus:
            return [_too_few_vgpus(cluster, n, i, allocation, least)]
        return [_several_slices(cluster, n, i, allocation)] if node.mig and allocation.vgpus > node.most_vgpus else []
    if lm.gpu_only:
        return [
            Violation(
                Rule.GPU_ONLY,
                place,
                float(allocation.cores),
                f"{lm.name} runs on vGPUs only; on {node.name} give it vGPUs or turn it off.",
            )
        ]
    runs = 0 < cluster.least_cores(n, i) <= allocation.cores or math.isfinite(
        cluster.cpu_seconds(n, i, allocation.cores)
    )
    if not runs:
        return [
            Violation(
                Rule.MODE,
                place,
                float(allocation.cores),
                f"{lm.name} cannot run on {allocation.cores} cores of {node.name}.",
            )
        ]
    return []


def _too_few_vgpus(cluster: Cluster, n: int, i: int, allocation: Allocation, least: int) -> Violation:
    node, lm = cluster.nodes[n], cluster.lms[i]
    if not least:
        why = "the node has none." if not node.vgpus else "it does not fit or its speed is unknown."
        sentence = f"{lm.name} cannot run on a GPU of {node.name}; {why}"
        return Violation(Rule.FEASIBLE, f"{node.name}/{lm.name}", float(allocation.vgpus), sentence)
    return Violation(
        Rule.GPU_VRAM,
        f"{node.name}/{lm.name}",
        lm.vram_gb / allocation.vgpus - node.gpu_vram_gb,
        f"{lm.name} needs {lm.vram_gb:g} GB of vRAM and each GPU of {node.name} has {node.gpu_vram_gb:g} GB; "
        f"give it {least} vGPUs or more there, so that it lies on as many GPUs, or turn it off.",
    )


def _several_slices(cluster: Cluster, n: int, i: int, allocation: Allocation) -> Violation:
    node, lm = cluster.nodes[n], cluster.lms[i]
    return Violation(
        Rule.VGPUS,
        f"{node.name}/{lm.name}",
        float(allocation.vgpus - node.most_vgpus),
        f"The vGPUs of {node.name} are MIG slices, and a pod can have one of them; give {lm.name} 1 vGPU there, "
        f"not {allocation.vgpus}.",
    )


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
