"""Full deployer: as many LMs on as fit, and never another thought (P1 section VI, RF)."""

from __future__ import annotations

import numpy as np

from domain.cluster import Cluster
from domain.decisions import Deployment, MacroPolicy
from domain.telemetry import Snapshot
from policies.standard import IntArray, Mode, Patterns, catalogue


class FullDeployer:
    """Keeps on each node the pattern with the most LMs on, the same in every slot.

    Of patterns with as many LMs on, the one with fewest on vGPUs (P1: LM1 and LM2 run on the CPU, LM3 and LM4 share the
    vGPUs); of those, the one that keeps the first LMs of the list.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._patterns = catalogue(cluster)
        ranks = {id(kind): _fullest_first(kind) for kind in self._patterns}
        self._ranks = [ranks[id(kind)] for kind in self._patterns]

    def deploy(self, snapshot: Snapshot, node: int, policy: MacroPolicy, rng: np.random.Generator) -> Deployment | None:
        """Return the fullest pattern within the node's roles.

        None where the node's state could not be read, and while a Pending pod voids what the pattern would add.
        """
        if np.isnan(snapshot.age_s[node]):
            return None
        patterns, rank = self._patterns[node], self._ranks[node]
        within_roles = ~(patterns.active & ~policy.roles[node]).any(axis=1)
        fullest = int(rank[np.argmax(within_roles[rank])])
        return patterns.deployment(node, fullest) if patterns.allowed(snapshot, node)[fullest] else None


def _fullest_first(patterns: Patterns) -> IntArray:
    """Return the numbers of the patterns, fullest first; lexsort's last key counts most."""
    on_gpu = (patterns.modes == Mode.GPU).sum(axis=1)
    first_lms_last = [~patterns.active[:, i] for i in reversed(range(patterns.modes.shape[1]))]
    order: IntArray = np.lexsort((*first_lms_last, on_gpu, -patterns.active.sum(axis=1)))
    return order
