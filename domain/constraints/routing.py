"""What a routing plan must keep to: nodes that exist, can run the LM and are meant to; weights that are sound."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.constraints.violation import Rule, Violation
from domain.decisions import NOWHERE, RoutingPlan
from domain.serving import Dispatch

MOST_WEIGHT = 1000.0
"""Largest weight of a node in an open plan; only the ratio of weights counts."""


def check_routing(
    cluster: Cluster, plan: RoutingPlan, roles: NDArray[np.bool_] | None = None, local: bool = False
) -> list[Violation]:
    """Targets exist, can run the LM (unless routing is local) and, given roles [N, I], are meant to.

    The same holds of every node that an open plan allows; it needs a cluster whose origins choose, and weights above 0.
    """
    shape = (cluster.n_nodes, cluster.n_lms)
    if plan.targets.shape != shape:
        return [_shape(f"The routing plan must have shape {shape}, not {plan.targets.shape}.")]
    if plan.weights is not None:
        return _check_open(cluster, plan.weights, roles, local)
    outside: NDArray[np.bool_] = np.asarray((plan.targets < NOWHERE) | (plan.targets >= cluster.n_nodes))
    target = np.where(outside | (plan.targets < 0), 0, plan.targets)
    lms = np.broadcast_to(np.arange(cluster.n_lms), shape)
    routed = ~outside & (plan.targets >= 0)
    at_home = (plan.targets == np.arange(cluster.n_nodes)[:, None]) & local
    servable = np.asarray(cluster.feasible.any(axis=0))
    wrong_node = routed & ~at_home & ~cluster.feasible[target, lms]
    forgotten = (plan.targets == NOWHERE) & servable[lms]
    bad = np.asarray(outside | wrong_node | forgotten, dtype=np.bool_)
    if roles is not None:
        bad |= np.asarray(routed & ~at_home & ~roles[target, lms] & np.asarray(roles.any(axis=0))[lms], dtype=np.bool_)
    return [_routing_violation(cluster, plan, int(n), int(i), bool(outside[n, i])) for n, i in np.argwhere(bad)]


def _routing_violation(cluster: Cluster, plan: RoutingPlan, n: int, i: int, outside: bool) -> Violation:
    origin, lm, to = cluster.nodes[n], cluster.lms[i], int(plan.targets[n, i])
    place = f"{origin.name} -> {lm.name}"
    if outside:
        return Violation(Rule.SHAPE, place, 1.0, f"{place} names node number {to}, which does not exist.")
    if to == NOWHERE:
        return Violation(Rule.FEASIBLE, place, 1.0, f"{place} leads nowhere though some node can serve {lm.name}.")
    node = cluster.nodes[to]
    if lm.gpu_only and not node.vgpus:
        return Violation(
            Rule.GPU_ONLY,
            place,
            1.0,
            f"{lm.name} runs on vGPUs only and {node.name} has none; send it to a node with a GPU.",
        )
    if not cluster.feasible[to, i]:
        return Violation(Rule.FEASIBLE, place, 1.0, f"{node.name} cannot run {lm.name}; choose a node that can.")
    return Violation(
        Rule.ROLE, place, 1.0, f"{lm.name} is not among the roles of {node.name}; choose a node that has it."
    )


def _check_open(
    cluster: Cluster, weights: NDArray[np.float64], roles: NDArray[np.bool_] | None, local: bool
) -> list[Violation]:
    """One violation for each LM and node, whatever the number of origins that may use the node; [N or 1, I, N]."""
    shapes = [(origins, cluster.n_lms, cluster.n_nodes) for origins in (cluster.n_nodes, 1)]
    if weights.shape not in shapes:
        return [_shape(f"The weights of the routing plan must have shape {shapes[0]} or {shapes[1]}.")]
    if cluster.serving.dispatch is Dispatch.FIXED:
        sentence = (
            "Requests go to fixed targets here; name one node for each origin and LM, not those that may be used."
        )
        return [_shape(sentence)]
    wrong: NDArray[np.bool_] = np.asarray(~(weights >= 0.0) | (weights > MOST_WEIGHT))
    allowed: NDArray[np.bool_] = np.asarray((weights > 0.0) & ~wrong)
    found = list(_wrong_weights(cluster, weights, wrong))
    servable = cluster.feasible.any(axis=0)
    found += [
        _nowhere(cluster, "*" if len(weights) < cluster.n_nodes else cluster.nodes[n].name, int(i))
        for n, i in np.argwhere(~np.asarray((allowed | wrong).any(axis=2)) & servable)
    ]
    if local and len(weights) == cluster.n_nodes:
        home = np.arange(cluster.n_nodes)
        allowed[home, :, home] = False
    used = np.asarray(allowed.any(axis=0))
    bad: NDArray[np.bool_] = np.asarray(used & ~cluster.feasible.T)
    if roles is not None:
        bad |= used & ~roles.T & np.asarray(roles.any(axis=0))[:, None]
    return found + [_not_for(cluster, int(i), int(n)) for i, n in np.argwhere(bad)]


def _wrong_weights(cluster: Cluster, weights: NDArray[np.float64], wrong: NDArray[np.bool_]) -> Iterator[Violation]:
    for i, n in np.argwhere(np.asarray(wrong.any(axis=0))).tolist():
        weight, lm, node = float(weights[wrong[:, i, n], i, n][0]), cluster.lms[i].name, cluster.nodes[n].name
        sentence = (
            f"The weight of {node} for {lm} is {weight:g}; use a number from 0, for not at all, to {MOST_WEIGHT:g}."
        )
        yield Violation(Rule.WEIGHT, f"{lm} -> {node}", weight, sentence)


def _nowhere(cluster: Cluster, origin: str, i: int) -> Violation:
    place = f"{origin} -> {cluster.lms[i].name}"
    sentence = f"{place} may go nowhere though some node can serve {cluster.lms[i].name}; allow at least one node."
    return Violation(Rule.FEASIBLE, place, 1.0, sentence)


def _not_for(cluster: Cluster, i: int, n: int) -> Violation:
    """A node that must not be used for an LM."""
    lm, node = cluster.lms[i], cluster.nodes[n]
    place, leave = f"{lm.name} -> {node.name}", f"leave it out of the nodes of {lm.name}."
    if lm.gpu_only and not node.vgpus:
        return Violation(Rule.GPU_ONLY, place, 1.0, f"{lm.name} runs on vGPUs only and {node.name} has none; {leave}")
    if not cluster.feasible[n, i]:
        return Violation(Rule.FEASIBLE, place, 1.0, f"{node.name} cannot run {lm.name}; {leave}")
    return Violation(Rule.ROLE, place, 1.0, f"{lm.name} is not among the roles of {node.name}; {leave}")


def _shape(sentence: str) -> Violation:
    return Violation(Rule.SHAPE, "routing", 1.0, sentence)
