"""Local scheduler: every request stays where it arrived (P1 section VI, LL)."""

from __future__ import annotations

import numpy as np

from domain.cluster import Cluster
from domain.decisions import MacroPolicy, RoutingPlan
from domain.telemetry import Snapshot


class LocalScheduler:
    """Sends each (origin, LM) to the origin, also where the LM cannot run: there it waits until its deadline."""

    def __init__(self, cluster: Cluster) -> None:
        home = np.arange(cluster.n_nodes, dtype=np.int64)
        self._targets = np.repeat(home[:, None], cluster.n_lms, axis=1)

    def schedule(self, snapshot: Snapshot, policy: MacroPolicy, rng: np.random.Generator) -> RoutingPlan:
        """Return the same plan in every slot; roles and shares do not bind local processing."""
        return RoutingPlan(self._targets.copy())
