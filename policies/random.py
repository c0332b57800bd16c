"""Random planner, scheduler and deployer: P1's random baselines (section VI), and what takes over where agents fail.

They look at nothing but what is allowed: no backlogs, no prompts (P1: "regardless of queue backlogs or prompt
composition").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from domain.cluster import Cluster
from domain.decisions import NOWHERE, Deployment, MacroPolicy, RoutingPlan
from domain.errors import InputError
from domain.telemetry import EpochTelemetry, Snapshot
from policies.standard import BoolArray, candidate_nodes, catalogue


class RandomScheduler:
    """Sends each (origin, LM) of each slot to a node drawn uniformly from those that can run the LM and have the role.

    An LM that needs a GPU is never sent to a node without one; an LM that no node can run is sent nowhere.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def schedule(self, snapshot: Snapshot, policy: MacroPolicy, rng: np.random.Generator) -> RoutingPlan:
        """Draw the plan of the slot, LM by LM over all origins."""
        n_nodes, n_lms = self._cluster.n_nodes, self._cluster.n_lms
        targets = np.full((n_nodes, n_lms), NOWHERE, dtype=np.int64)
        for i in range(n_lms):
            nodes = candidate_nodes(self._cluster, policy, i)
            if nodes.size:
                targets[:, i] = nodes[rng.integers(nodes.size, size=n_nodes)]
        return RoutingPlan(targets)


class RandomDeployer:
    """Draws each node's pattern anew in each slot, uniformly from those that P1-1, roles and Pending pods allow."""

    def __init__(self, cluster: Cluster) -> None:
        self._patterns = catalogue(cluster)

    def deploy(self, snapshot: Snapshot, node: int, policy: MacroPolicy, rng: np.random.Generator) -> Deployment | None:
        """Draw the pattern of the node; None where its state could not be read."""
        if np.isnan(snapshot.age_s[node]):
            return None
        patterns = self._patterns[node]
        allowed = np.flatnonzero(patterns.allowed(snapshot, node, policy.roles[node]))
        return patterns.deployment(node, int(rng.choice(allowed)))


class RandomPlanner:
    """Draws a sound macro-policy: P1's "uniformly randomized macro-policy", and the fallback of its planning agent.

    Each LM that any node can run is given to one node, drawn uniformly from those on which it fits beside the LMs that
    the node was given before; LMs come in random order, and a dead end is undone. Each node then draws its roles
    uniformly from the sets of LMs that it can have on at once and that hold what it was given. The shares of an LM are
    uniform over all ways of sharing it among the nodes with the role (a flat Dirichlet distribution).
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        patterns = catalogue(cluster)
        sets = {id(kind): np.unique(kind.active, axis=0) for kind in patterns}
        self._sets = [sets[id(kind)] for kind in patterns]

    def plan(self, snapshot: Snapshot, history: Sequence[EpochTelemetry], rng: np.random.Generator) -> MacroPolicy:
        """Draw the macro-policy of the epoch.

        Raises:
            InputError: the nodes together cannot have all LMs on at once, so that no macro-policy is sound.
        """
        cluster = self._cluster
        roles = np.zeros((cluster.n_nodes, cluster.n_lms), dtype=np.bool_)
        if not self._give(list(rng.permutation(np.flatnonzero(cluster.feasible.any(axis=0)))), roles, rng):
            raise InputError(
                f"Cluster {cluster.name}: its nodes together cannot have all of its LMs on at once, so no macro-policy "
                f"is sound; add a node or take an LM away."
            )
        for n, sets in enumerate(self._sets):
            roles[n] = rng.choice(sets[self._holding(n, roles[n])])
        shares = np.zeros((cluster.n_lms, cluster.n_nodes))
        for i in range(cluster.n_lms):
            nodes = np.flatnonzero(roles[:, i])
            if nodes.size:
                shares[i, nodes] = rng.dirichlet(np.ones(nodes.size))
        return MacroPolicy(shares, roles)

    def _holding(self, n: int, lms: BoolArray) -> BoolArray:
        """Return which role sets of node n hold all of `lms`."""
        return np.asarray((self._sets[n] >= lms).all(axis=1))

    def _give(self, lms: list[np.int64], roles: BoolArray, rng: np.random.Generator) -> bool:
        """Give each of `lms` to one node, writing to `roles`; False, with `roles` as it was, where that cannot be."""
        if not lms:
            return True
        i, seen = lms[0], set()
        for n in rng.permutation(np.flatnonzero(self._cluster.feasible[:, i])):
            like = (id(self._sets[n]), roles[n].tobytes())
            if like in seen:  # a node of the same hardware, given the same LMs, has just led nowhere
                continue
            seen.add(like)
            roles[n, i] = True
            if self._holding(n, roles[n]).any() and self._give(lms[1:], roles, rng):
                return True
            roles[n, i] = False
        return False
