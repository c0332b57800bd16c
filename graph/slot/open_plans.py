"""Open plans that follow from a macro-policy alone, where origins choose: the nodes that may be used, all alike.

They stand where a fixed plan is derived from the macro-policy on a cluster of fixed targets.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import MacroPolicy, RoutingPlan
from policies.standard import candidate_nodes


def by_roles(cluster: Cluster, policy: MacroPolicy) -> RoutingPlan:
    """Each LM to the nodes that can run it and have the role; where none has, to those that can run it."""
    allowed = np.zeros((cluster.n_lms, cluster.n_nodes), dtype=np.bool_)
    for i in range(cluster.n_lms):
        allowed[i, candidate_nodes(cluster, policy, i)] = True
    return _all_alike(allowed)


def by_shares(cluster: Cluster, policy: MacroPolicy) -> RoutingPlan:
    """Each LM to the nodes on which it has a share; without shares to those that can run it."""
    allowed = policy.probabilities > 0.0
    return _all_alike(np.where(allowed.any(axis=1, keepdims=True), allowed, cluster.feasible.T))


def _all_alike(allowed: NDArray[np.bool_]) -> RoutingPlan:
    """[I, N] nodes of each LM to the plan that lets time alone decide among them, for all origins."""
    return RoutingPlan.open(allowed.astype(np.float64)[None])
