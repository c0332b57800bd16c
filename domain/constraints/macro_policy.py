"""What a macro-policy must keep to: P1-12 and P1-13, and roles that fit together on their node."""

from __future__ import annotations

import numpy as np

from domain.cluster import Cluster
from domain.constraints.together import fits_together
from domain.constraints.violation import TOLERANCE, Rule, Violation
from domain.decisions import MacroPolicy


def check_macro_policy(cluster: Cluster, policy: MacroPolicy, tolerance: float = TOLERANCE) -> list[Violation]:
    """P1-12, P1-13: shares are probabilities over feasible nodes with the role; roles fit together on the node."""
    p_shape, r_shape = (cluster.n_lms, cluster.n_nodes), (cluster.n_nodes, cluster.n_lms)
    if policy.probabilities.shape != p_shape or policy.roles.shape != r_shape:
        return [
            Violation(
                Rule.SHAPE,
                "macro-policy",
                1.0,
                f"Routing probabilities must have shape {p_shape} and roles {r_shape}.",
            )
        ]
    found = []
    for i, lm in enumerate(cluster.lms):
        if cluster.feasible[:, i].any():
            found += _check_shares(cluster, policy, i, tolerance)
        elif policy.probabilities[i].any():
            found.append(Violation(Rule.FEASIBLE, lm.name, 1.0, f"No node can run {lm.name}; give it no traffic."))
    known: dict[tuple[object, bytes], bool] = {}
    for n in range(cluster.n_nodes):
        found += _check_roles(cluster, policy, n, known)
    return found


def _check_shares(cluster: Cluster, policy: MacroPolicy, i: int, tolerance: float) -> list[Violation]:
    name, row, found = cluster.lms[i].name, policy.probabilities[i], []
    for n in np.flatnonzero(~np.isfinite(row) | (row < 0)):
        found.append(
            Violation(
                Rule.PROBABILITY,
                f"{name} -> {cluster.nodes[n].name}",
                float(row[n]),
                f"The share of {name} on {cluster.nodes[n].name} is {row[n]:g}; use a number from 0 to 1.",
            )
        )
    if found:
        return found
    if abs(row.sum() - 1.0) > tolerance:
        found.append(
            Violation(
                Rule.SUM_TO_ONE,
                name,
                float(row.sum() - 1.0),
                f"The shares of {name} sum to {row.sum():.6g}; make them sum to 1.",
            )
        )
    for n in np.flatnonzero(row > 0):
        node = cluster.nodes[n].name
        if not cluster.feasible[n, i]:
            rule = Rule.GPU_ONLY if cluster.lms[i].gpu_only and not cluster.nodes[n].vgpus else Rule.FEASIBLE
            found.append(
                Violation(
                    rule,
                    f"{name} -> {node}",
                    float(row[n]),
                    f"{node} cannot run {name}; move its share of {row[n]:.3g} to a node that can.",
                )
            )
        elif not policy.roles[n, i]:
            found.append(
                Violation(
                    Rule.ROLE,
                    f"{name} -> {node}",
                    float(row[n]),
                    f"{name} gets a share of {row[n]:.3g} on {node} but is not among its roles; "
                    "add the role or move the share.",
                )
            )
    return found


def _check_roles(
    cluster: Cluster, policy: MacroPolicy, n: int, known: dict[tuple[object, bytes], bool]
) -> list[Violation]:
    """Roles that the node can run, and all at once; `known` is what holds of nodes of the same hardware and roles."""
    node, lms = cluster.nodes[n], np.flatnonzero(policy.roles[n]).tolist()
    found = [
        Violation(
            Rule.GPU_ONLY if cluster.lms[i].gpu_only else Rule.FEASIBLE,
            f"{node.name}/{cluster.lms[i].name}",
            1.0,
            f"{node.name} cannot run {cluster.lms[i].name}; take it out of the node's roles.",
        )
        for i in lms
        if not cluster.feasible[n, i]
    ]
    if found:
        return found
    alike = node.hardware, policy.roles[n].tobytes()
    if alike not in known:
        known[alike] = fits_together(cluster, n, lms)
    if known[alike]:
        return []
    names = ", ".join(cluster.lms[i].name for i in lms)
    over = max(0.0, sum(cluster.lms[i].ram_gb for i in lms) - node.ram_gb)
    return [
        Violation(
            Rule.RAM if over else Rule.VGPUS,
            node.name,
            over or 1.0,
            f"{names} cannot all be active on {node.name} at once; take at least one role away.",
        )
    ]
