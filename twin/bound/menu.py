"""What a prompt takes at least: every way to compute it, its seconds, and what it uses of the hardware.

A *way* is a mode (so many cores, or a share of a GPU) on a *class* of nodes with the same hardware. Pooling the nodes
of a class only helps a policy, so bounds stay bounds, and 600 nodes of three kinds are as quick to bound as three.
docs/bound.md, claims 1 to 4, proves that work in the twin obeys `seconds`, `usage` and `capacity`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from domain.cluster import Cluster, Node
from domain.constraints import TOLERANCE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to compute a prompt of an LM on a node."""

    seconds: float
    """Per prompt."""
    cores: float
    """Held while the pod works: its quota, or the host cores of a pod on vGPUs."""
    gpu_share: float = 0.0
    """1 / D of docs/twin.md; 0 on the CPU."""

    @property
    def on_gpu(self) -> bool:
        """True where the pod is on vGPUs."""
        return self.gpu_share > 0.0


@dataclass(frozen=True)
class Menu:
    """All M ways of a cluster and the R resources that they share."""

    lm: IntArray
    """[M] the LM that the way serves."""
    kind: IntArray
    """[M] the class of nodes."""
    on_gpu: BoolArray
    """[M]"""
    seconds: FloatArray
    """[M] per prompt."""
    usage: csr_array
    """[M, R] unit-seconds of each resource per prompt: GPU seconds, core seconds, pod seconds and so on."""
    capacity: FloatArray
    """[R] units that a class has: GPUs, cores, pods and so on."""
    scale: FloatArray
    """[R] the size of what the resource limits, for a search to step by; the capacity where there is one."""
    servers: IntArray
    """[I] pods of each LM that can work at once: one on each node that can run it."""


def ways(cluster: Cluster, n: int, i: int) -> list[Way]:
    """Return every way in which node n can compute a prompt of LM i; none where the LM does not run there."""
    node, lm = cluster.nodes[n], cluster.lms[i]
    if lm.ram_gb > node.ram_gb + TOLERANCE:
        return []
    found = []
    profile = lm.gpu_profiles.get(node.gpu_model) if node.gpu_model else None
    if profile is not None and lm.vram_gb <= node.vram_gb + TOLERANCE and lm.host_cores <= node.cpu_cores:
        found += [Way(profile.seconds_per_prompt(share), lm.host_cores, share) for share in shares(node)]
    for cores in range(1, 1 if lm.gpu_only else node.cpu_cores + 1):
        seconds = cluster.cpu_seconds(n, i, cores)
        if math.isfinite(seconds):
            found.append(Way(seconds, cores))
    return found


def shares(node: Node) -> list[float]:
    """Return every 1 / D that a pod can see: its own g of the busy vGPUs on the GPUs that it is on."""
    most = node.vgpus_per_gpu
    return sorted({g / busy for g in range(1, node.vgpus + 1) for busy in range(g, most * min(g, node.gpus) + 1)})


def classes(cluster: Cluster) -> list[list[int]]:
    """Return the nodes grouped by hardware, in order of the first node of each class."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for n, node in enumerate(cluster.nodes):
        hardware = (
            node.cpu_model,
            node.cpu_cores,
            node.ram_gb,
            node.gpu_model,
            node.gpus,
            node.vgpus_per_gpu,
            node.vram_gb,
        )
        groups.setdefault(hardware, []).append(n)
    return list(groups.values())


def menu(cluster: Cluster) -> Menu:
    """Collect the ways and the resources of a cluster."""
    found = list[tuple[int, int, Way]]()
    column, rows, columns, amounts = dict[tuple[int, str], int](), list[int](), list[int](), list[float]()
    capacity, scale = list[float](), list[float]()
    servers = np.zeros(cluster.n_lms, dtype=np.int64)
    for kind, members in enumerate(classes(cluster)):
        units = _units(cluster, members[0])
        for i in range(cluster.n_lms):
            mine = ways(cluster, members[0], i)
            servers[i] += len(members) * bool(mine)
            for way in mine:
                for name, amount in _demands(cluster, i, way):
                    if (kind, name) not in column:
                        column[kind, name] = len(capacity)
                        unit = units.get(name, 0.0 if name.startswith("company") else 1.0)
                        capacity.append(unit * len(members))
                        scale.append((unit or 1.0) * len(members))
                    rows.append(len(found))
                    columns.append(column[kind, name])
                    amounts.append(amount)
                found.append((i, kind, way))
    return Menu(
        lm=np.array([i for i, _, _ in found], dtype=np.int64),
        kind=np.array([kind for _, kind, _ in found], dtype=np.int64),
        on_gpu=np.array([way.on_gpu for _, _, way in found], dtype=np.bool_),
        seconds=np.array([way.seconds for _, _, way in found], dtype=np.float64),
        usage=csr_array((amounts, (rows, columns)), shape=(len(found), len(capacity))),
        capacity=np.array(capacity),
        scale=np.array(scale),
        servers=servers,
    )


def _units(cluster: Cluster, n: int) -> dict[str, float]:
    """What one node of the class has. Besides, it has one pod of each LM, and no company (claim 4)."""
    node = cluster.nodes[n]
    return {
        "gpu": node.gpus,
        "cores": node.cpu_cores,
        "vgpus": node.vgpus,
        "ram": node.ram_gb + TOLERANCE,
        "vram": node.vram_gb + TOLERANCE,
    }


def _demands(cluster: Cluster, i: int, way: Way) -> Iterator[tuple[str, float]]:
    """Resource and unit-seconds per prompt: what a pod holds, it holds at least for the seconds in which it works."""
    lm = cluster.lms[i]
    held = {
        "cores": way.cores,
        "gpu": way.gpu_share,
        "vgpus": float(way.on_gpu),
        "ram": lm.ram_gb,
        "vram": lm.vram_gb if way.on_gpu else 0.0,
        f"pod {i}": 1.0,
    }
    yield from ((name, amount * way.seconds) for name, amount in held.items() if amount)
    if 0.0 < way.gpu_share < 1.0:  # claim 4: nobody is slowed down alone
        yield from ((f"company {k}", way.seconds if k == i else -way.seconds) for k in range(cluster.n_lms))
