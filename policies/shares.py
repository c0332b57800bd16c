"""Share scheduler: the macro-policy's routing probabilities (P1-12), followed to the letter.

It stands for a scheduling agent that keeps to the plan and looks at nothing else, in rehearsals and as a yardstick.
"""

from __future__ import annotations

import numpy as np

from domain.cluster import Cluster
from domain.decisions import NOWHERE, MacroPolicy, RoutingPlan
from domain.telemetry import Snapshot


class ShareScheduler:
    """Draws the target of each (origin, LM) of each slot by the LM's shares.

    An LM without shares is sent to a node drawn uniformly from those that can run it, and nowhere where none can.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def schedule(self, snapshot: Snapshot, policy: MacroPolicy, rng: np.random.Generator) -> RoutingPlan:
        """Draw the plan of the slot, LM by LM over all origins."""
        n_nodes, n_lms = self._cluster.n_nodes, self._cluster.n_lms
        targets = np.full((n_nodes, n_lms), NOWHERE, dtype=np.int64)
        for i in range(n_lms):
            weights = policy.probabilities[i]
            if not weights.any():
                weights = self._cluster.feasible[:, i].astype(np.float64)
            if weights.any():
                edges = np.cumsum(weights)
                # Inverse transform: always one draw per origin; min() only where rounding reaches the last edge.
                drawn = np.searchsorted(edges, rng.random(n_nodes) * edges[-1], side="right")
                targets[:, i] = np.minimum(drawn, np.flatnonzero(weights)[-1])
        return RoutingPlan(targets)
