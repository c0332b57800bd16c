"""Groups of nodes for clusters that have too many for a row each: by hardware, and by site."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster, Node

MOST_NODES = 12
"""Nodes that are shown one by one; of more, their groups are."""
MOST_GROUPS = 12
"""Groups that are shown; the smallest are put together."""


@dataclass(frozen=True)
class Groups:
    """Every node belongs to one group."""

    names: tuple[str, ...]
    of: NDArray[np.int64]
    """[N] group of each node."""

    def targets(self, origin: int) -> list[str]:
        """What targets are called, seen from an origin: its own group, the others by name, nowhere."""
        own = "itself" if self.sizes[origin] == 1 else "within"
        return [*(own if g == origin else name for g, name in enumerate(self.names)), "nowhere"]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Nodes in each group."""
        return np.bincount(self.of, minlength=len(self.names)).astype(np.int64)


def single(cluster: Cluster) -> Groups:
    """Every node by itself."""
    return Groups(tuple(node.name for node in cluster.nodes), np.arange(cluster.n_nodes))


def coarse(cluster: Cluster) -> tuple[str, Groups]:
    """What flows are shown between, and the groups: nodes where they are few, else sites where few, else hardware."""
    if cluster.n_nodes <= MOST_NODES:
        return "nodes", single(cluster)
    if len({node.site for node in cluster.nodes}) <= MOST_GROUPS:
        return "sites", _grouped([node.site for node in cluster.nodes])
    return "kinds of hardware", by_hardware(cluster)


def by_hardware(cluster: Cluster) -> Groups:
    """Nodes of the same hardware; beyond MOST_GROUPS kinds the smallest are one group."""
    return _grouped([hardware_name(node) for node in cluster.nodes])


def hardware_name(node: Node) -> str:
    """A node's hardware in a few words: '2x A5000, 16 cores'."""
    gpus = f"{node.gpus}x {node.gpu_model}".replace("NVIDIA ", "") if node.gpus else "no GPU"
    return f"{gpus}, {node.cpu_cores} cores"


def _grouped(labels: list[str]) -> Groups:
    names, of, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if names.size <= MOST_GROUPS:
        return Groups(tuple(map(str, names)), of.astype(np.int64))
    largest = np.argsort(-sizes, kind="stable")[: MOST_GROUPS - 1]
    place = np.full(names.size, MOST_GROUPS - 1, dtype=np.int64)
    place[largest] = np.arange(MOST_GROUPS - 1)
    rest = f"{names.size - MOST_GROUPS + 1} others"
    return Groups((*(str(names[k]) for k in largest), rest), place[of])
