"""What a prompt takes at least: every way to compute it, its seconds, and what it uses of the hardware.

A *way* is a mode (so many cores, or a share of a GPU) on a *class* of nodes with the same hardware. Pooling the nodes
of a class only helps a policy, so bounds stay bounds, and 600 nodes of three kinds are as quick to bound as three.
docs/bound.md, claims 1 to 3, proves that work in the twin obeys `seconds`, `usage`, `capacity` and `states`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from domain.cluster import Cluster, Node
from domain.constraints import TOLERANCE

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


MOST_SHARES = 4
"""Different shares of a GPU that are told apart; of more, those within a factor of two are taken for one, which is as
fast as the largest and as cheap as the smallest."""
MOST_LMS = 5
"""LMs that are looked at together on a node. More are looked at in parts, which only lowers the bounds."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to compute a prompt of an LM on a node."""

    seconds: float
    """Per prompt."""
    cores: int
    """Held while the pod works: its quota, or the host cores of a pod on vGPUs."""
    gpu_share: float = 0.0
    """1 / D of docs/twin.md; 0 on the CPU."""

    @property
    def on_gpu(self) -> bool:
        """True where the pod is on vGPUs."""
        return self.gpu_share > 0.0


@dataclass(frozen=True)
class Menu:
    """All M ways of a cluster and the R resources that they use."""

    lm: IntArray
    """[M] the LM that the way serves."""
    kind: IntArray
    """[M] the class of nodes."""
    on_gpu: BoolArray
    """[M]"""
    seconds: FloatArray
    """[M] per prompt."""
    usage: csr_array
    """[M, R] unit-seconds of each resource per prompt: core seconds, pod seconds, or seconds of the way itself."""
    capacity: FloatArray
    """[R] units that a class has: cores, pods, GB; 0 of ways on GPUs, which come from `states`."""
    scale: FloatArray
    """[R] the size of what the resource limits, for a search to step by."""
    states: list[list[csr_array]]
    """Per class and part of the LMs, [S, R] seconds of each way that a node offers per second, one row for each set of
    pods that can be busy on its GPUs at once."""
    nodes: IntArray
    """Nodes of each class."""
    servers: IntArray
    """[I] pods of each LM that can work at once: one on each node that can run it."""


def ways(cluster: Cluster, n: int, i: int) -> list[Way]:
    """Return every way in which node n can compute a prompt of LM i; none where the LM does not run there."""
    node, lm, found = cluster.nodes[n], cluster.lms[i], list[Way]()
    if vgpus := cluster.least_vgpus(n, i):
        profile = lm.gpu_profiles[node.gpu_model or ""]
        found += [
            Way(profile.fixed_s + profile.compute_s / most, lm.host_cores, least) for least, most in shares(node, vgpus)
        ]
    if first := cluster.least_cores(n, i):
        found += [Way(cluster.cpu_seconds(n, i, cores), cores) for cores in range(first, node.cpu_cores + 1)]
    return found


def shares(node: Node, least: int) -> list[tuple[float, float]]:
    """Return every 1 / D that a pod can see, g of its own among the busy vGPUs on the GPUs that it is on, as ranges.

    `least` is the fewest that it can have of its own.
    """
    # Of g vGPUs on as many GPUs as can be, the busy ones are from its own alone to all there are.
    busy = {g: node.vgpus_per_gpu * min(g, node.gpus) for g in range(least, node.vgpus + 1)}
    exact = set[float]()
    for share in (g / busy_vgpus for g, most in busy.items() for busy_vgpus in range(g, most + 1)):
        exact.add(share)
        if len(exact) > MOST_SHARES:
            break
    else:
        return [(share, share) for share in sorted(exact)]
    groups = dict[int, tuple[float, float]]()  # by k: shares from 1 / 2^k to below twice that
    for g, most in busy.items():
        for k in range((most // g).bit_length() + 1):
            first, last = max(g, (g << k) // 2 + 1 if k else g), min(most, g << k)
            if first <= last:
                low, high = groups.get(k, (math.inf, 0.0))
                groups[k] = min(low, g / last), max(high, g / first)
    return [groups[k] for k in sorted(groups, reverse=True)]


def classes(cluster: Cluster) -> list[list[int]]:
    """Return the nodes grouped by hardware, in order of the first node of each class."""
    groups: dict[object, list[int]] = {}
    for n, node in enumerate(cluster.nodes):
        groups.setdefault(node.hardware, []).append(n)
    return list(groups.values())


def parts(cluster: Cluster) -> list[range]:
    """Return the LMs in parts of at most MOST_LMS."""
    return [range(i, min(i + MOST_LMS, cluster.n_lms)) for i in range(0, cluster.n_lms, MOST_LMS)]


def menu(cluster: Cluster) -> Menu:
    """Collect the ways, the resources and the states of a cluster."""
    found = list[tuple[int, int, Way]]()
    column = dict[tuple[int, str], int]()
    rows, columns, amounts, capacity, scale = list[int](), list[int](), list[float](), list[float](), list[float]()
    servers = np.zeros(cluster.n_lms, dtype=np.int64)
    sets = list[list[list[list[int]]]]()
    for kind, members in enumerate(classes(cluster)):
        units = _units(cluster, members[0])
        on_gpu = list[list[tuple[Way, int]]]()
        for i in range(cluster.n_lms):
            mine = ways(cluster, members[0], i)
            servers[i] += len(members) * bool(mine)
            on_gpu.append([])
            for way in mine:
                for name, amount in _demands(cluster, members[0], i, way):
                    if (kind, name) not in column:
                        column[kind, name] = len(capacity)
                        unit = units.get(name, 1.0 if name.startswith("pod") else 0.0)
                        capacity.append(unit * len(members))
                        scale.append((unit or 1.0) * len(members))
                    rows.append(len(found))
                    columns.append(column[kind, name])
                    amounts.append(amount)
                if way.on_gpu:
                    on_gpu[i].append((way, columns[-1]))
                found.append((i, kind, way))
        sets.append([_states(cluster, members[0], on_gpu, part) for part in parts(cluster)])
    return Menu(
        lm=np.array([i for i, _, _ in found], dtype=np.int64),
        kind=np.array([kind for _, kind, _ in found], dtype=np.int64),
        on_gpu=np.array([way.on_gpu for _, _, way in found], dtype=np.bool_),
        seconds=np.array([way.seconds for _, _, way in found], dtype=np.float64),
        usage=csr_array((amounts, (rows, columns)), shape=(len(found), len(capacity))),
        capacity=np.array(capacity),
        scale=np.array(scale),
        states=[[_one_hot(busy, len(capacity)) for busy in of_kind] for of_kind in sets],
        nodes=np.array([len(members) for members in classes(cluster)], dtype=np.int64),
        servers=servers,
    )


def offers(menu: Menu) -> tuple[csr_array, csr_array, FloatArray]:
    """All states [S, R], [C, S] which class and part of the LMs they are of, and [C] how many nodes offer them."""
    groups = [(n, states) for n, of_kind in zip(menu.nodes.tolist(), menu.states, strict=True) for states in of_kind]
    owner = np.repeat(np.arange(len(groups)), [states.shape[0] for _, states in groups])
    owned = csr_array((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape=(len(groups), len(owner)))
    return vstack([states for _, states in groups]).tocsr(), owned, np.array([float(n) for n, _ in groups])


def _units(cluster: Cluster, n: int) -> dict[str, float]:
    """What one node of the class has; besides, it has one pod of each LM."""
    node = cluster.nodes[n]
    return {"cores": node.cpu_cores, "ram": node.ram_gb + TOLERANCE, "vram": node.vram_gb + TOLERANCE}


def _demands(cluster: Cluster, n: int, i: int, way: Way) -> Iterator[tuple[str, float]]:
    """Resource and unit-seconds per prompt: what a pod holds, it holds at least for the seconds in which it works."""
    held = {
        "cores": way.cores,
        "ram": cluster.ram_gb(n, i, way.on_gpu),
        "vram": cluster.vram_gb(n, i) if way.on_gpu else 0.0,
        f"pod {i}": 1.0,
        f"way {i} {way.gpu_share}": float(way.on_gpu),
    }
    yield from ((name, amount * way.seconds) for name, amount in held.items() if amount)


def _states(cluster: Cluster, n: int, on_gpu: list[list[tuple[Way, int]]], part: range) -> list[list[int]]:
    """Columns of the ways in each set of pods that can be busy on the node's GPUs at once (claim 3)."""
    node, fits = cluster.nodes[n], list[list[int]]()
    for choice in itertools.product(*([None, *on_gpu[i]] for i in part)):
        busy = [pod for pod in choice if pod is not None]
        vgpus = sum(cluster.least_vgpus(n, i) for i, pod in zip(part, choice, strict=True) if pod is not None)
        slowed = sum(way.gpu_share < 1.0 for way, _ in busy)
        alone = slowed == 1 and len(part) == cluster.n_lms  # nobody is slowed down by nobody
        if vgpus <= node.vgpus and not alone and sum(way.gpu_share for way, _ in busy) <= node.gpus + TOLERANCE:
            fits.append([column for _, column in busy])
    return fits


def _one_hot(rows: list[list[int]], width: int) -> csr_array:
    row = [k for k, columns in enumerate(rows) for _ in columns]
    column = [c for columns in rows for c in columns]
    return csr_array((np.ones(len(row)), (row, column)), shape=(len(rows), width))
