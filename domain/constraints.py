"""P1-1 and the rules around it, as checks that return what is wrong instead of raising.

Every check returns a list of violations, empty where the decision is sound. A violation names the rule, the place and
the amount, and says in one sentence what would be right, so that a person and a model can both act on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import NOWHERE, Allocation, Deployment, MacroPolicy, RoutingPlan
from domain.telemetry import Phase, Snapshot

TOLERANCE = 1e-9
"""Slack on sums of GB and of probabilities that only rounding may use up."""


class Rule(StrEnum):
    """Names of the rules, stable: counters, records and prompts use them."""

    VGPUS = "vgpus"
    CORES = "cores"
    RAM = "ram"
    VRAM = "vram"
    GPU_ONLY = "gpu_only"
    MODE = "mode"
    SHAPE = "shape"
    PROBABILITY = "probability"
    SUM_TO_ONE = "sum_to_one"
    FEASIBLE = "feasible"
    ROLE = "role"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that a decision breaks."""

    rule: Rule
    place: str
    """Node, LM or 'origin -> LM' that it concerns."""
    amount: float
    """By how much: cores, GB, vGPUs, probability; 1 where the rule is yes or no."""
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def check_deployment(
    cluster: Cluster,
    deployment: Deployment,
    roles: NDArray[np.bool_] | None = None,
    snapshot: Snapshot | None = None,
) -> list[Violation]:
    """P1-1, modes, roles ([I], R_n of P1-13) and, with a snapshot, the Pending rule of P1 section V-D, for one node."""
    n, node = deployment.node, cluster.nodes[deployment.node]
    if len(deployment.allocations) != cluster.n_lms:
        return [
            Violation(
                Rule.SHAPE,
                node.name,
                abs(len(deployment.allocations) - cluster.n_lms),
                f"The deployment of {node.name} must give one allocation to each of the "
                f"{cluster.n_lms} LMs, not {len(deployment.allocations)}.",
            )
        ]
    found: list[Violation] = []
    pending = snapshot is not None and snapshot.has_pending(n)
    for i, allocation in enumerate(deployment.allocations):
        if not (allocation.cores or allocation.vgpus):
            continue  # off is always sound
        found += _check_mode(cluster, n, i, allocation)
        if roles is not None and not roles[i]:
            name = cluster.lms[i].name
            found.append(
                Violation(
                    Rule.ROLE,
                    f"{node.name}/{name}",
                    1.0,
                    f"{name} is not among the roles of {node.name}; turn it off there.",
                )
            )
        if pending and snapshot is not None:
            found += _check_pending(cluster, snapshot, n, i, allocation)
    return found + _check_sums(cluster, n, deployment.allocations)


def _check_mode(cluster: Cluster, n: int, i: int, allocation: Allocation) -> list[Violation]:
    node, lm = cluster.nodes[n], cluster.lms[i]
    place = f"{node.name}/{lm.name}"
    if allocation.cores < 0 or allocation.vgpus < 0:
        return [
            Violation(
                Rule.MODE,
                place,
                float(-min(allocation.cores, allocation.vgpus)),
                f"{lm.name} on {node.name} asks for a negative amount; use 0 for off.",
            )
        ]
    if allocation.cores and allocation.vgpus:
        return [
            Violation(
                Rule.MODE,
                place,
                1.0,
                f"{lm.name} on {node.name} asks for cores and vGPUs; choose one of the two.",
            )
        ]
    if allocation.vgpus and not cluster.runs_on_gpu(n, i):
        return [
            Violation(
                Rule.FEASIBLE,
                place,
                float(allocation.vgpus),
                f"{lm.name} cannot run on a GPU of {node.name}; "
                + ("the node has none." if not node.vgpus else "it does not fit or its speed is unknown."),
            )
        ]
    if allocation.cores and lm.gpu_only:
        return [
            Violation(
                Rule.GPU_ONLY,
                place,
                float(allocation.cores),
                f"{lm.name} runs on vGPUs only; on {node.name} give it vGPUs or turn it off.",
            )
        ]
    if allocation.cores and not math.isfinite(cluster.cpu_seconds(n, i, allocation.cores)):
        return [
            Violation(
                Rule.MODE,
                place,
                float(allocation.cores),
                f"{lm.name} cannot run on {allocation.cores} cores of {node.name}.",
            )
        ]
    return []


def _check_pending(cluster: Cluster, snapshot: Snapshot, n: int, i: int, allocation: Allocation) -> list[Violation]:
    if allocation == snapshot.allocation(n, i) and snapshot.phase[n, i] != Phase.TERMINATING:
        return []
    node, lm = cluster.nodes[n], cluster.lms[i]
    return [
        Violation(
            Rule.PENDING,
            f"{node.name}/{lm.name}",
            1.0,
            f"{node.name} has a Pending pod; until it runs, {lm.name} there can only stay or be turned off.",
        )
    ]


def _check_sums(cluster: Cluster, n: int, allocations: tuple[Allocation, ...]) -> list[Violation]:
    node = cluster.nodes[n]
    vgpus, cores, ram_gb, vram_gb = 0, 0, 0.0, 0.0
    for lm, a in zip(cluster.lms, allocations, strict=True):
        if a.cores or a.vgpus:
            vgpus += a.vgpus
            cores += a.demand_cores(lm)
            ram_gb += lm.ram_gb
            vram_gb += lm.vram_gb if a.vgpus else 0.0
    if (
        vgpus <= node.vgpus
        and cores <= node.cpu_cores
        and ram_gb <= node.ram_gb + TOLERANCE
        and vram_gb <= node.vram_gb + TOLERANCE
    ):
        return []
    sums: tuple[tuple[Rule, float, float, str], ...] = (
        (Rule.VGPUS, vgpus, node.vgpus, "vGPUs"),
        (Rule.CORES, cores, node.cpu_cores, "CPU cores"),
        (Rule.RAM, ram_gb, node.ram_gb, "GB of RAM"),
        (Rule.VRAM, vram_gb, node.vram_gb, "GB of vRAM"),
    )
    return [
        Violation(
            rule,
            node.name,
            used - limit,
            f"{node.name} has {limit:g} {unit}, the active LMs ask for {used:g}; free {used - limit:g}.",
        )
        for rule, used, limit, unit in sums
        if used > limit + TOLERANCE
    ]


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
    for n in range(cluster.n_nodes):
        found += _check_roles(cluster, policy, n)
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


def _check_roles(cluster: Cluster, policy: MacroPolicy, n: int) -> list[Violation]:
    node, lms = cluster.nodes[n], np.flatnonzero(policy.roles[n])
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
    if found or fits_together(cluster, n, [int(i) for i in lms]):
        return found
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


def fits_together(cluster: Cluster, n: int, lms: list[int]) -> bool:
    """True where some choice of CPU or vGPU for each of `lms` meets P1-1 on node n, each at its smallest size."""
    node = cluster.nodes[n]
    if sum(cluster.lms[i].ram_gb for i in lms) > node.ram_gb + TOLERANCE:
        return False
    reached = {(0, 0, 0.0)}  # cores, vGPUs and GB of vRAM that the LMs so far can take: few, however many the choices
    for i in lms:
        lm, smallest = cluster.lms[i], _smallest_cpu(cluster, n, i)
        steps = [(smallest.cores, 0, 0.0)] if smallest else []
        if cluster.runs_on_gpu(n, i):
            steps.append((lm.host_cores, 1, lm.vram_gb))
        reached = {
            (cores + c, vgpus + g, vram + v)
            for cores, vgpus, vram in reached
            for c, g, v in steps
            if cores + c <= node.cpu_cores and vgpus + g <= node.vgpus and vram + v <= node.vram_gb + TOLERANCE
        }
    return bool(reached)


def _smallest_cpu(cluster: Cluster, n: int, i: int) -> Allocation | None:
    if not cluster.runs_on_cpu(n, i):
        return None
    return next(
        Allocation(cores=k)
        for k in range(1, cluster.nodes[n].cpu_cores + 1)
        if math.isfinite(cluster.cpu_seconds(n, i, k))
    )
