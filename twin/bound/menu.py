"""What a prompt takes at least: every way to compute it, its seconds, and what it uses of the hardware.

A *way* is a mode (so many cores, or vGPUs) on a *class* of nodes with the same hardware. Pooling the nodes of a class
only helps a policy, so bounds stay bounds, and 600 nodes of three kinds are as quick to bound as three.
docs/bound.md, claims 1 to 3, proves that work in the twin obeys `seconds`, `usage` and `capacity`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from domain.cluster import Cluster
from domain.constraints import TOLERANCE
from domain.serving import BatchCurve, Batching, Dispatch
from twin.bound.batches import least_share
from twin.bound.sharing import gpu_seconds_per_second

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to compute a prompt of an LM on a node."""

    seconds: float
    """Per prompt, with no busy neighbour."""
    cores: int
    """Held while the pod works: its quota, or the host cores of a pod on vGPUs."""
    batch: BatchCurve
    """What batches take; of one prompt at most where the cluster has none."""
    vgpus: int = 0
    """The fewest that the pod can have; 0 on the CPU."""
    compute_s: float = 0.0
    """Per prompt, with kernels on a GPU; 0 on the CPU."""
    copies: int = 1
    """The most that the pod can hold."""

    @property
    def on_gpu(self) -> bool:
        """True where the pod is on vGPUs."""
        return self.vgpus > 0


@dataclass(frozen=True)
class Menu:
    """All M ways of a cluster and the R resources that they use."""

    lm: IntArray
    """[M] the LM that the way serves."""
    kind: IntArray
    """[M] the class of nodes."""
    ways: list[Way]
    """[M]"""
    seconds: FloatArray
    """[M] per unit: what one prompt takes."""
    usage: csr_array
    """[M, R] unit-seconds of each resource per unit: core seconds, pod seconds, GPU seconds and so on."""
    share: FloatArray
    """[M] least units per prompt, in the best batch."""
    capacity: FloatArray
    """[R] units that a class has: cores, pods, GB and so on."""
    servers: IntArray
    """[I] pods and copies of each LM that can work at once, at most one pod on each node that can run it."""
    apart: BoolArray
    """[M] True where the prompts of one request may be computed at once in several pods, copies, or batches with those
    of other requests; False where a pod has one request in hand at a time, and that one nowhere else."""

    @property
    def least_usage(self) -> csr_array:
        """[M, R] as `usage`, per prompt in the best batch."""
        return csr_array(self.usage.multiply(self.share[:, None]))


def ways(cluster: Cluster, n: int, i: int) -> list[Way]:
    """Return every way in which node n can compute a prompt of LM i; none where the LM does not run there."""
    node, lm, found = cluster.nodes[n], cluster.lms[i], list[Way]()
    batches = cluster.serving.batching is not Batching.NONE
    if vgpus := cluster.least_vgpus(n, i):
        speed = lm.gpu_profiles[node.gpu_model or ""]
        batch = speed.batch if batches else BatchCurve()
        copies = _most_copies(cluster, n, i)
        found.append(Way(speed.seconds_per_prompt, lm.host_cores, batch, vgpus, speed.compute_s, copies))
    if first := cluster.least_cores(n, i):
        batch = lm.cpu_profiles[node.cpu_model].batch if batches else BatchCurve()
        found += [Way(cluster.cpu_seconds(n, i, cores), cores, batch) for cores in range(first, node.cpu_cores + 1)]
    return found


def _most_copies(cluster: Cluster, n: int, i: int) -> int:
    """Return the most copies of LM i that a pod on vGPUs of node n can hold: one on each of its GPUs."""
    node, ram_gb = cluster.nodes[n], cluster.ram_gb(n, i, True)
    if not cluster.serving.copies or cluster.vram_gb(n, i) > node.gpu_vram_gb + TOLERANCE:
        return 1
    return max(1, min(node.gpus, math.floor((node.ram_gb + TOLERANCE) / ram_gb) if ram_gb else node.gpus))


def classes(cluster: Cluster) -> list[list[int]]:
    """Return the nodes grouped by hardware, in order of the first node of each class."""
    groups: dict[object, list[int]] = {}
    for n, node in enumerate(cluster.nodes):
        groups.setdefault(node.hardware, []).append(n)
    return list(groups.values())


def menu(cluster: Cluster) -> Menu:
    """Collect the ways and the resources of a cluster."""
    found = list[tuple[int, int, Way]]()
    column = dict[tuple[int, str], int]()
    rows, columns, amounts, capacity = list[int](), list[int](), list[float](), list[float]()
    servers = np.zeros(cluster.n_lms, dtype=np.int64)
    split = (cluster.serving.dispatch is Dispatch.SPLIT) & (cluster.feasible.sum(axis=0) > 1)
    queue = cluster.serving.batching is Batching.QUEUE
    for kind, members in enumerate(classes(cluster)):
        listed = [ways(cluster, members[0], i) for i in range(cluster.n_lms)]
        units = _units(cluster, members[0], [way for mine in listed for way in mine if way.on_gpu])
        for i, mine in enumerate(listed):
            servers[i] += len(members) * max((way.copies for way in mine), default=0)
            for way in mine:
                for name, amount in _demands(cluster, members[0], i, way):
                    if (kind, name) not in column:
                        column[kind, name] = len(capacity)
                        capacity.append(units.get(name, 1.0) * len(members))
                    rows.append(len(found))
                    columns.append(column[kind, name])
                    amounts.append(amount)
                found.append((i, kind, way))
    return Menu(
        lm=np.array([i for i, _, _ in found], dtype=np.int64),
        kind=np.array([kind for _, kind, _ in found], dtype=np.int64),
        ways=[way for _, _, way in found],
        seconds=np.array([way.seconds for _, _, way in found], dtype=np.float64),
        usage=csr_array((amounts, (rows, columns)), shape=(len(found), len(capacity))),
        share=np.array([least_share(way.batch, way.batch.most) for _, _, way in found], dtype=np.float64),
        capacity=np.array(capacity),
        servers=servers,
        apart=np.array(
            [split[i] or way.copies > 1 or (queue and way.batch.most > 1) for i, _, way in found], dtype=np.bool_
        ),
    )


def _units(cluster: Cluster, n: int, on_gpu: list[Way]) -> dict[str, float]:
    """What one node of the class has; besides, it has one pod of each LM."""
    node = cluster.nodes[n]
    return {
        "cores": node.cpu_cores,
        "ram": node.ram_gb + TOLERANCE,
        "vram": node.vram_gb + TOLERANCE,
        "vgpus": node.vgpus,
        "gpus": gpu_seconds_per_second(node.gpus, node.vgpus, sum(way.copies for way in on_gpu)),
    }


def _demands(cluster: Cluster, n: int, i: int, way: Way) -> Iterator[tuple[str, float]]:
    """Resource and unit-seconds of a prompt; a pod holds what it holds at least for the seconds in which it works.

    A pod with copies holds memory and vGPUs for each of them, all else once for all.
    """
    held = {
        "cores": way.cores / way.copies,
        "ram": cluster.ram_gb(n, i, way.on_gpu),
        "vram": cluster.vram_gb(n, i) if way.on_gpu else 0.0,
        "vgpus": way.vgpus,
        f"pod {i}": 1.0 / way.copies,
    }
    yield from ((name, amount * way.seconds) for name, amount in held.items() if amount)
    if way.compute_s:
        yield "gpus", way.compute_s
