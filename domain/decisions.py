"""What is decided: the macro-policy of an epoch, the routing plan of a slot, the deployment of a node.

Each has a form with names (what agents write, JSON) and a form with indices (what the twin runs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.large_model import LargeModel

NOWHERE = -1
"""Target of a route that leads nowhere: such requests fail at once."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """What one LM gets on one node: nothing (off), CPU cores, or vGPUs; never cores and vGPUs at once.

    A pod on vGPUs also requests its LM's `host_cores`; that is the LM's property, not a decision.
    """

    cores: int = 0
    vgpus: int = 0

    @property
    def is_off(self) -> bool:
        """True where the LM is not deployed."""
        return self.cores == 0 and self.vgpus == 0

    def demand_cores(self, lm: LargeModel) -> int:
        """CPU cores that the pod requests, C_ni of P1-1."""
        return lm.host_cores if self.vgpus > 0 else self.cores

    def to_json(self) -> dict[str, int] | str:
        """'off', {'cores': c} or {'vgpus': g}."""
        if self.is_off:
            return "off"
        return {"vgpus": self.vgpus} if self.vgpus else {"cores": self.cores}


OFF = Allocation()


@dataclass(frozen=True, slots=True)
class Deployment:
    """The deployer's output for one node: an allocation per LM, a_n(t) of P1 section IV-B2."""

    node: int
    allocations: tuple[Allocation, ...]

    def to_json(self, cluster: Cluster) -> dict[str, Any]:
        """Name to allocation."""
        return {lm.name: a.to_json() for lm, a in zip(cluster.lms, self.allocations, strict=True)}


Row = Mapping[str, Any]
"""LM to a target (a name, or None), or to the nodes that are allowed: a list of names, or name to weight."""
EVERYBODY = "*"
"""In an open plan with names: every origin that has no entry of its own."""


@dataclass(frozen=True, slots=True)
class RoutingPlan:
    """The scheduler's output for one slot: where the requests of an (origin node, LM) go.

    A fixed plan (P1) names one target. An open one names the nodes among which the origin chooses as requests come
    (`Dispatch.ARRIVAL`, `Dispatch.SPLIT`), each with a weight; its `targets` are those of the largest weight.
    """

    targets: NDArray[np.int64]
    """[N, I] target node of requests of LM i that arrive at node n; NOWHERE where there is none."""
    weights: NDArray[np.float64] | None = None
    """[N, I, N] for origin, LM and node, or [1, I, N] for all origins; None in a fixed plan.

    A node may be used where its weight is more than 0. The seconds until a request would be back are divided by it: 1
    for all lets them alone decide, and a node of weight 0.5 must be twice as soon.
    """

    @classmethod
    def open(cls, weights: NDArray[np.float64]) -> RoutingPlan:
        """Return the plan that allows nodes by weight; [N, I, N], or [1, I, N] for all origins."""
        n_nodes = weights.shape[2]
        best = np.broadcast_to(weights.argmax(axis=2), (n_nodes, weights.shape[1]))
        home = np.arange(n_nodes)[:, None]
        at_home = np.take_along_axis(np.broadcast_to(weights, (n_nodes, *weights.shape[1:])), home[:, :, None], axis=2)
        most = weights.max(axis=2)
        targets = np.where(at_home[:, :, 0] >= most, home, best)  # the node itself, where there is none better
        return cls(np.where(most > 0.0, targets, NOWHERE).astype(np.int64), weights)

    @property
    def is_open(self) -> bool:
        """True where origins choose."""
        return self.weights is not None

    def differing(self, other: RoutingPlan | None) -> NDArray[np.bool_]:
        """[N, I] True where target, nodes or weights are others than in the other plan; None is a plan without any."""
        if other is None:
            unlike = np.asarray(self.targets != NOWHERE)
        elif self.weights is not None and other.weights is not None:
            unlike = np.asarray((self.weights != other.weights).any(axis=2))
        else:
            unlike = np.asarray((self.targets != other.targets) | (self.is_open != other.is_open))
        return np.broadcast_to(unlike, self.targets.shape)

    def to_json(self, cluster: Cluster) -> dict[str, dict[str, Any]]:
        """Origin name to LM name to target name, or in an open plan to {node: weight}, "*" for all origins."""
        names, lms = [node.name for node in cluster.nodes], [lm.name for lm in cluster.lms]
        if self.weights is not None:
            origins = names if len(self.weights) == len(names) else [EVERYBODY]
            return {
                origin: {
                    lm: {name: weight for name, weight in zip(names, row, strict=True) if weight > 0.0}
                    for lm, row in zip(lms, rows, strict=True)
                }
                for origin, rows in zip(origins, self.weights.tolist(), strict=True)
            }
        return {
            name: {lm: names[target] if target >= 0 else None for lm, target in zip(lms, row, strict=True)}
            for name, row in zip(names, self.targets.tolist(), strict=True)
        }

    @classmethod
    def from_json(cls, cluster: Cluster, table: Mapping[str, Row]) -> RoutingPlan:
        """Read the form with names, fixed or open; raises KeyError for an unknown name or a missing pair."""
        nodes, lms = cluster.node_index, cluster.lm_index
        unknown = next((name for name in table if name != EVERYBODY and name not in nodes), None)
        unknown = unknown or next((lm for row in table.values() for lm in row if lm not in lms), None)
        if unknown is not None:
            raise KeyError(unknown)
        rows = {name: table[name] if name in table else table.get(EVERYBODY, {}) for name in nodes}
        missing = next(((origin, lm) for origin in nodes for lm in lms if lm not in rows[origin]), None)
        if missing is not None:
            raise KeyError(f"{missing[0]} -> {missing[1]}")
        if not any(_is_open(target) for row in table.values() for target in row.values()):
            targets = [[NOWHERE] * len(lms) for _ in nodes]
            for origin, row in rows.items():
                for lm, target in row.items():
                    targets[nodes[origin]][lms[lm]] = NOWHERE if target is None else nodes[target]
            return cls(np.array(targets, dtype=np.int64))
        origins = [EVERYBODY] if set(table) == {EVERYBODY} and len(nodes) > 1 else list(nodes)
        weights = np.zeros((len(origins), len(lms), len(nodes)))
        for o, origin in enumerate(origins):
            for lm, allowed in (table[EVERYBODY] if origin == EVERYBODY else rows[origin]).items():
                for name, weight in _weights(allowed).items():
                    weights[o, lms[lm], nodes[name]] = weight
        return cls.open(weights)


def _is_open(target: Any) -> bool:
    return isinstance(target, Mapping | Sequence) and not isinstance(target, str)


def _weights(allowed: Any) -> Mapping[str, float]:
    """Name to weight, from that, a list of names, one name or None."""
    if isinstance(allowed, Mapping):
        return allowed
    return dict.fromkeys([] if allowed is None else [allowed] if isinstance(allowed, str) else allowed, 1.0)


@dataclass(frozen=True, slots=True)
class MacroPolicy:
    """The planner's output for one epoch, Pi_e: routing probabilities (P1-12) and node roles (P1-13)."""

    probabilities: NDArray[np.float64]
    """[I, N] p_in: the share of LM i's traffic meant for node n; each row sums to one over feasible nodes."""
    roles: NDArray[np.bool_]
    """[N, I] True where LM i belongs to R_n, the LMs that node n may host."""

    def to_json(self, cluster: Cluster) -> dict[str, Any]:
        """Form with names: {'routing': {LM: {node: p}}, 'roles': {node: [LM, …]}}; zero shares are left out."""
        names, lms = [node.name for node in cluster.nodes], [lm.name for lm in cluster.lms]
        routing = {
            lm: {name: share for name, share in zip(names, row, strict=True) if share > 0}
            for lm, row in zip(lms, self.probabilities.tolist(), strict=True)
        }
        roles = {
            name: [lm for lm, allowed in zip(lms, row, strict=True) if allowed]
            for name, row in zip(names, self.roles.tolist(), strict=True)
        }
        return {"routing": routing, "roles": roles}

    @classmethod
    def from_json(
        cls, cluster: Cluster, routing: Mapping[str, Mapping[str, float]], roles: Mapping[str, Sequence[str]]
    ) -> MacroPolicy:
        """Read the form with names; raises KeyError for an unknown name."""
        probabilities = np.zeros((cluster.n_lms, cluster.n_nodes))
        allowed = np.zeros((cluster.n_nodes, cluster.n_lms), dtype=np.bool_)
        for lm, row in routing.items():
            for node, p in row.items():
                probabilities[cluster.lm_index[lm], cluster.node_index[node]] = p
        for node, lms in roles.items():
            for lm in lms:
                allowed[cluster.node_index[node], cluster.lm_index[lm]] = True
        return cls(probabilities, allowed)

    @classmethod
    def unrestricted(cls, cluster: Cluster) -> MacroPolicy:
        """Every feasible node may host every LM, shares are even: what a run without a planner works under."""
        roles = cluster.feasible
        shares = roles.T / np.maximum(roles.T.sum(axis=1, keepdims=True), 1)
        return cls(shares.astype(np.float64), roles.copy())
