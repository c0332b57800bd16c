"""What the pods of one node may hold together: P1-1, and beside its sum of vRAM what lies on each physical GPU."""

from __future__ import annotations

from collections.abc import Sequence

from domain.cluster import Cluster
from domain.constraints.violation import TOLERANCE, Rule, Violation
from domain.decisions import Allocation
from domain.gpus import Gpus


def check_capacity(cluster: Cluster, n: int, allocations: Sequence[Allocation]) -> list[Violation]:
    """P1-1 for node n, and that each GPU can hold what lies on it when the pods are admitted in the order of LMs."""
    node = cluster.nodes[n]
    vgpus, cores, ram_gb, vram_gb = 0, 0, 0.0, 0.0
    for lm, a in zip(cluster.lms, allocations, strict=True):
        if a.cores or a.vgpus:
            vgpus += a.vgpus
            cores += a.demand_cores(lm)
            ram_gb += lm.ram_gb
            vram_gb += lm.vram_gb if a.vgpus else 0.0
    if node.unified_memory:
        held = [cluster.ram_gb(n, i, a.vgpus > 0) for i, a in enumerate(allocations) if a.cores or a.vgpus]
        ram_gb, vram_gb = sum(held), 0.0
    if (
        vgpus <= node.vgpus
        and cores <= node.cpu_cores
        and ram_gb <= node.ram_gb + TOLERANCE
        and vram_gb <= node.vram_gb + TOLERANCE
    ):
        # On one GPU the sum is all there is to it, and what fits on one fits on any.
        scarce = node.gpus > 1 and vram_gb > node.gpu_vram_gb
        return _check_gpus(cluster, n, allocations) if scarce else []
    memory = "GB of memory for CPU and GPUs" if node.unified_memory else "GB of RAM"
    sums: tuple[tuple[Rule, float, float, str], ...] = (
        (Rule.VGPUS, vgpus, node.vgpus, "vGPUs"),
        (Rule.CORES, cores, node.cpu_cores, "CPU cores"),
        (Rule.RAM, ram_gb, node.ram_gb, memory),
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


def _check_gpus(cluster: Cluster, n: int, allocations: Sequence[Allocation]) -> list[Violation]:
    """Admit the pods on vGPUs one after the other; those that no GPU has room for are in the way of the others."""
    node, gpus, found = cluster.nodes[n], Gpus(cluster.nodes[n]), []
    for i, (lm, a) in enumerate(zip(cluster.lms, allocations, strict=True)):
        if not 0 < cluster.least_vgpus(n, i) <= a.vgpus:  # off, on the CPU, or wrong by itself
            continue
        each, taken = lm.vram_gb / a.vgpus, gpus.place(a.vgpus, lm.vram_gb)
        room = int(taken.sum())
        if room == a.vgpus:
            gpus.hold(taken, lm.vram_gb)
            continue
        found.append(
            Violation(
                Rule.GPU_VRAM,
                f"{node.name}/{lm.name}",
                (a.vgpus - room) * each,
                f"Each GPU of {node.name} has {node.gpu_vram_gb:g} GB of vRAM; beside the LMs before it there is room "
                f"for {room} of the {a.vgpus} vGPUs of {lm.name}, {each:g} GB each; turn it or another off there.",
            )
        )
    return found
