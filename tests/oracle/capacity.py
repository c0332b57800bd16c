"""What the pods of a node leave free, and on which of its GPUs a pod comes to lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from domain.cluster import Node
from domain.decisions import Allocation
from domain.large_model import LargeModel
from tests.oracle.model import Pod

SLACK_GB = 1e-9


def memory(node: Node, lm: LargeModel, allocation: Allocation) -> tuple[float, float]:
    """GB of RAM and of vRAM that a pod of one copy takes."""
    if not allocation.vgpus:
        return lm.ram_gb, 0.0
    if node.unified_memory:
        return lm.ram_gb + lm.vram_gb if lm.unified_gb is None else lm.unified_gb, 0.0
    return lm.ram_gb, lm.vram_gb


def free(node: Node, pods: Sequence[Pod]) -> tuple[int, float, int, float]:
    """Cores, GB of RAM, vGPUs and GB of vRAM of the node that no pod holds."""
    held = [(memory(node, pod.lm, pod.allocation), len(pod.copies)) for pod in pods]
    return (
        node.cpu_cores - sum(pod.allocation.demand_cores(pod.lm) for pod in pods),
        node.ram_gb - sum(copies * ram for (ram, _), copies in held),
        node.vgpus - sum(pod.allocation.vgpus for pod in pods),
        node.vram_gb - sum(copies * vram for (_, vram), copies in held),
    )


def free_by_gpu(node: Node, pods: Sequence[Pod]) -> tuple[Counter[int], dict[int, float]]:
    """vGPUs and GB of vRAM that are free on each GPU."""
    left = Counter(dict.fromkeys(range(node.gpus), node.vgpus_per_gpu))
    room = dict.fromkeys(range(node.gpus), 0.0 if node.unified_memory else node.vram_gb / max(node.gpus, 1))
    for pod in pods:
        left.subtract(pod.on_gpu)
        for copy in pod.copies:
            of = sum(copy.on_gpu.values())
            for p, count in copy.on_gpu.items():
                room[p] -= memory(node, pod.lm, pod.allocation)[1] * count / of
    return left, room


def fits(node: Node, pods: Sequence[Pod], lm: LargeModel, allocation: Allocation, copies: int = 1) -> bool:
    """True where what is free is enough for a pod, all GPUs taken together."""
    cores, ram, vgpus, vram = free(node, pods)
    needed_ram, needed_vram = memory(node, lm, allocation)
    return (
        allocation.demand_cores(lm) <= cores
        and allocation.vgpus <= vgpus
        and copies * needed_ram <= ram + SLACK_GB
        and copies * needed_vram <= vram + SLACK_GB
    )


def choose_gpus(node: Node, pods: Sequence[Pod], lm: LargeModel, vgpus: int) -> Counter[int] | None:
    """One vGPU after the other from the emptiest GPU that has memory for it; None where one of them finds none."""
    chosen = Counter[int]()
    left, room = free_by_gpu(node, pods)
    part = memory(node, lm, Allocation(vgpus=vgpus))[1] / max(vgpus, 1)
    for _ in range(vgpus):
        able = [p for p in range(node.gpus) if left[p] > 0 and part <= room[p] + SLACK_GB]
        if not able:
            return None
        most = max(able, key=lambda p: (left[p], -p))
        chosen[most] += 1
        left[most] -= 1
        room[most] -= part
    return chosen


def copies_fit(node: Node, pods: Sequence[Pod], lm: LargeModel, allocation: Allocation, on_gpu: Counter[int]) -> bool:
    """True where each of these GPUs has memory for the whole LM, and the node for all of it."""
    _, room = free_by_gpu(node, pods)
    whole = memory(node, lm, allocation)[1]
    return fits(node, pods, lm, allocation, len(on_gpu)) and all(whole <= room[p] + SLACK_GB for p in on_gpu)
