"""Average scheduler: P1's "uniformly distributed across all feasible nodes" (section VI, AL), without chance."""

from __future__ import annotations

import numpy as np

from domain.cluster import Cluster
from domain.decisions import NOWHERE, MacroPolicy, RoutingPlan
from domain.telemetry import Snapshot
from policies.standard import candidate_nodes


class AverageScheduler:
    """Sends LM i from origin n in slot t to candidate number (t + n + i) mod k of its k candidates.

    In any k slots in a row each origin sends to each candidate exactly once. Within one slot the numbers of origins
    that two candidates get differ by one at most, and an origin's LMs go to different places.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def schedule(self, snapshot: Snapshot, policy: MacroPolicy, rng: np.random.Generator) -> RoutingPlan:
        """Turn the rotation to the snapshot's slot; draws nothing."""
        n_nodes, n_lms = self._cluster.n_nodes, self._cluster.n_lms
        targets = np.full((n_nodes, n_lms), NOWHERE, dtype=np.int64)
        for i in range(n_lms):
            nodes = candidate_nodes(self._cluster, policy, i)
            if nodes.size:
                targets[:, i] = nodes[(snapshot.slot + i + np.arange(n_nodes)) % nodes.size]
        return RoutingPlan(targets)
