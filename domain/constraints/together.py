"""Whether some LMs can be on a node at the same time: what the roles of a macro-policy promise.

Which of them goes to the CPU and which to vGPUs is a knapsack with three resources. Cores and vGPUs are small whole
numbers, so the least memory for every number of both is found LM by LM, however many the LMs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster, Node
from domain.constraints.violation import TOLERANCE
from domain.gpus import Gpus

Step = tuple[int, int, float]
"""Cores, vGPUs and GB of the scarce memory that an LM takes in one of its modes."""

MOST_TRIED = 5000
"""Placements on GPUs that are tried at most. LMs of which none of so many fits count as too large for the node."""


def fits_together(cluster: Cluster, n: int, lms: Sequence[int]) -> bool:
    """True where some choice of CPU or vGPUs for each of `lms` fits on node n, each at its smallest size.

    It keeps to P1-1, and each GPU can hold what lies on it.
    """
    node, limit = cluster.nodes[n], cluster.nodes[n].vram_gb
    if node.unified_memory:
        limit = node.ram_gb
    elif sum([cluster.lms[i].ram_gb for i in lms]) > node.ram_gb + TOLERANCE:
        return False
    steps = [_steps(cluster, n, i) for i in lms]
    if not all(steps):
        return False
    on_gpus = sum([modes[-1][2] for modes in steps if modes[-1][1]])
    scarce = node.gpus > 1 and not node.unified_memory and on_gpus > node.gpu_vram_gb
    if not scarce:
        cores, vgpus, gb = map(sum, zip(*[modes[0] for modes in steps], strict=True)) if steps else (0, 0, 0.0)
        if cores <= node.cpu_cores and vgpus <= node.vgpus and gb <= limit + TOLERANCE:
            return True  # on the CPU whatever can be: most are settled by that
    cores = min(node.cpu_cores, sum(max(c for c, _, _ in modes) for modes in steps))
    vgpus = min(node.vgpus, sum(max(g for _, g, _ in modes) for modes in steps))
    needs = _least_memory(steps, cores, vgpus)
    if needs[0][cores, vgpus] > limit + TOLERANCE:
        return False
    return not scarce or _placed(node, steps, needs)


def _steps(cluster: Cluster, n: int, i: int) -> list[Step]:
    """Return the modes in which node n can have LM i on."""
    node, lm, found = cluster.nodes[n], cluster.lms[i], list[Step]()
    if cores := cluster.least_cores(n, i):
        found.append((cores, 0, lm.ram_gb if node.unified_memory else 0.0))
    if vgpus := cluster.least_vgpus(n, i):
        found.append((lm.host_cores, vgpus, cluster.ram_gb(n, i, True) if node.unified_memory else lm.vram_gb))
    return found


def _least_memory(steps: list[list[Step]], cores: int, vgpus: int) -> list[NDArray[np.float64]]:
    """Return, for k = 0 … all, [cores + 1, vGPUs + 1] least memory of LMs k and on, within so many of both."""
    needs = [np.zeros((cores + 1, vgpus + 1))]
    for modes in reversed(steps):
        need = np.full_like(needs[0], np.inf)
        for c, g, gb in modes:
            if c <= cores and g <= vgpus:
                within = need[c:, g:]
                np.minimum(within, needs[0][: cores + 1 - c, : vgpus + 1 - g] + gb, out=within)
        needs.insert(0, need)
    return needs


def _placed(node: Node, steps: list[list[Step]], needs: list[NDArray[np.float64]]) -> bool:
    """True where some choice of modes also fits GPU by GPU, pods being admitted in the order of LMs."""
    cores, vgpus = (size - 1 for size in needs[0].shape)
    tried, seen = 0, set[tuple[int, int, bytes]]()
    stack = [(0, cores, vgpus, node.vram_gb, Gpus(node))]
    while stack and tried < MOST_TRIED:
        k, cores, vgpus, free_gb, gpus = stack.pop()
        if k == len(steps):
            return True
        tried += 1
        for c, g, gb in steps[k]:
            if c > cores or g > vgpus or needs[k + 1][cores - c, vgpus - g] > free_gb - gb + TOLERANCE:
                continue
            after = gpus.rows(np.arange(1))
            if g and not after.admit(g, gb)[0]:
                continue
            key = (k, cores - c, after.held_gb.tobytes() + after.vgpus.tobytes())
            if key not in seen:
                seen.add(key)
                stack.append((k + 1, cores - c, vgpus - g, free_gb - gb, after))
    return False
