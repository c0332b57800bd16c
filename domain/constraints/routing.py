"""What a routing plan must keep to: targets that exist, can run the LM and are meant to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.constraints.violation import Rule, Violation
from domain.decisions import NOWHERE, RoutingPlan


def check_routing(
    cluster: Cluster, plan: RoutingPlan, roles: NDArray[np.bool_] | None = None, local: bool = False
) -> list[Violation]:
    """Targets exist, can run the LM (unless routing is local) and, given roles [N, I], are meant to."""
    shape = (cluster.n_nodes, cluster.n_lms)
    if plan.targets.shape != shape:
        return [
            Violation(
                Rule.SHAPE,
                "routing",
                1.0,
                f"The routing plan must have shape {shape}, not {plan.targets.shape}.",
            )
        ]
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
