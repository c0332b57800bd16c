"""The strict reading of a model's answer into a decision.

Reading settles the form alone: one JSON object, known names, numbers where numbers belong. Whether the decision is
sound is for `domain.constraints` to say. Reading does not stop at the first mistake, since the one repair round should
show the model all of them.

It takes what the schemas take and, of servers that decode freely, three things more that leave no doubt: no
`reasoning`, a share or a weight that is left out (it is 0), and `off` without an amount.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.constraints import TOLERANCE
from domain.decisions import NOWHERE, OFF, Allocation, Deployment, MacroPolicy, RoutingPlan
from domain.ledger import Reason
from domain.serving import Dispatch
from graph.gate.open_routes import parse_open_routing
from graph.gate.reading import Reading, is_number
from graph.gate.schemas import MODES, schema_for_deployment, schema_for_macro_policy, schema_for_routing
from graph.gate.strict_json import AnswerError, Json, kind, strict_json
from prompts.quoting import listed, quoted

__all__ = [
    "AnswerError",
    "parse_deployment",
    "parse_macro_policy",
    "parse_routing",
    "schema_for_deployment",
    "schema_for_macro_policy",
    "schema_for_routing",
    "strict_json",
]

MOST_AMOUNT = 1_000_000
"""Beyond any node's cores and any share, and small enough for every sum in the rules."""
_UNITS = {"cpu": "cores", "gpu": "vGPUs"}


def parse_macro_policy(cluster: Cluster, text: str, tolerance: float) -> tuple[MacroPolicy, bool]:
    """Read a planner's answer; True beside it where some LM's shares missed one by more than rounding and were scaled.

    Shares that sum to one within `tolerance` are scaled; others are left as they are, for the rules to refuse.

    Raises:
        AnswerError: with one sentence for each mistake of form.
    """
    reading = Reading(text, "routing", "roles")
    shares = np.zeros((cluster.n_lms, cluster.n_nodes))
    roles = np.zeros((cluster.n_nodes, cluster.n_lms), dtype=np.bool_)
    for lm, row in reading.parts["routing"].items():
        _read_shares(cluster, reading, shares, lm, row)
    for node, lms in reading.parts["roles"].items():
        _read_roles(cluster, reading, roles, node, lms)
    for i in np.flatnonzero(cluster.feasible.any(axis=0)):
        if cluster.lms[i].name not in reading.parts["routing"]:
            reading.wrong(f'"routing" has no {quoted(cluster.lms[i].name)}; give its shares.')
    for n in np.flatnonzero(cluster.feasible.any(axis=1)):
        if cluster.nodes[n].name not in reading.parts["roles"]:
            reading.wrong(f'"roles" has no {quoted(cluster.nodes[n].name)}; list its LMs, or give [] for none.')
    reading.done()
    missed = np.abs(shares.sum(axis=1) - 1.0)
    near = (shares >= 0).all(axis=1) & (missed <= tolerance)
    shares[near] /= shares[near].sum(axis=1, keepdims=True)
    return MacroPolicy(shares, roles), bool((missed[near] > TOLERANCE).any())


def _read_shares(cluster: Cluster, reading: Reading, shares: NDArray[Any], lm: str, row: Any) -> None:
    i = cluster.lm_index.get(lm)
    if i is None:
        reading.unknown("LM", lm, '"routing"', cluster.lm_index)
        return
    if not isinstance(row, dict):
        reading.wrong(f'"routing" of {quoted(lm)} must be an object of node names and shares, not {kind(row)}.')
        return
    for node, share in row.items():
        n = cluster.node_index.get(node)
        if n is None:
            reading.unknown("node", node, f'"routing" of {quoted(lm)}', cluster.node_index)
        elif not is_number(share):
            reading.wrong(f"The share of {quoted(lm)} on {quoted(node)} must be a number, not {kind(share)}.")
        elif abs(share) > MOST_AMOUNT:
            reading.wrong(
                f"The share of {quoted(lm)} on {quoted(node)} is {share:.3g}; use a number from 0 to 1.",
                Reason.VIOLATION,
            )
        else:
            shares[i, n] = share


def _read_roles(cluster: Cluster, reading: Reading, roles: NDArray[Any], node: str, lms: Any) -> None:
    n = cluster.node_index.get(node)
    if n is None:
        reading.unknown("node", node, '"roles"', cluster.node_index)
        return
    if not isinstance(lms, list):
        reading.wrong(f'"roles" of {quoted(node)} must be a list of LM names, not {kind(lms)}.')
        return
    for lm in lms:
        if not isinstance(lm, str):
            reading.wrong(f'"roles" of {quoted(node)} must list LM names, not {kind(lm)}.')
        elif lm not in cluster.lm_index:
            reading.unknown("LM", lm, f'"roles" of {quoted(node)}', cluster.lm_index)
        else:
            roles[n, cluster.lm_index[lm]] = True


def parse_routing(cluster: Cluster, text: str) -> RoutingPlan:
    """Read a scheduler's answer, in the form that the cluster's way to dispatch asks for.

    Raises:
        AnswerError: with one sentence for each mistake of form.
    """
    if cluster.serving.dispatch is not Dispatch.FIXED:
        return parse_open_routing(cluster, text)
    reading = Reading(text, "routes")
    routes = reading.parts["routes"]
    targets = np.full((cluster.n_nodes, cluster.n_lms), NOWHERE, dtype=np.int64)
    for origin, row in routes.items():
        n = cluster.node_index.get(origin)
        if n is None:
            reading.unknown("node", origin, '"routes"', cluster.node_index)
        elif not isinstance(row, dict):
            reading.wrong(
                f'"routes" of {quoted(origin)} must be an object of LM names and target nodes, not {kind(row)}.'
            )
        else:
            _read_row(cluster, reading, targets[n], origin, row)
    servable = {cluster.lms[i].name: i for i in np.flatnonzero(cluster.feasible.any(axis=0))}
    for node in cluster.nodes:
        row = routes.get(node.name, {})
        if isinstance(row, dict) and not servable.keys() <= row.keys():
            missing = [lm for lm in servable if lm not in row]
            reading.wrong(f'"routes" of {quoted(node.name)} has no {listed(missing)}; give a target for each LM.')
    reading.done()
    return RoutingPlan(targets)


def _read_row(cluster: Cluster, reading: Reading, targets: NDArray[Any], origin: str, row: Json) -> None:
    for lm, target in row.items():
        i = cluster.lm_index.get(lm)
        n = cluster.node_index.get(target) if type(target) is str else None
        if i is not None and n is not None:
            targets[i] = n
        elif i is None:
            reading.unknown("LM", lm, f'"routes" of {quoted(origin)}', cluster.lm_index)
        elif type(target) is str:
            reading.unknown("node", target, f'"routes" of {quoted(origin)} to {quoted(lm)}', cluster.node_index)
        else:
            reading.wrong(f"The target of {quoted(lm)} from {quoted(origin)} must be a node name, not {kind(target)}.")


def parse_deployment(cluster: Cluster, n: int, text: str) -> Deployment:
    """Read a deployer's answer for node n; an LM that the node cannot run is off where the answer leaves it out.

    Raises:
        AnswerError: with one sentence for each mistake of form.
    """
    reading = Reading(text, "deployment")
    cells = reading.parts["deployment"]
    allocations = [OFF] * cluster.n_lms
    for lm, cell in cells.items():
        known = cluster.lm_index.get(lm)
        if known is None:
            reading.unknown("LM", lm, '"deployment"', cluster.lm_index)
        else:
            allocations[known] = _read_cell(reading, lm, cell)
    for i, runs in enumerate(cluster.feasible[n].tolist()):
        if runs and cluster.lms[i].name not in cells:
            reading.wrong(
                f'"deployment" has no {quoted(cluster.lms[i].name)}; say whether it is off, on cpu or on gpu.'
            )
    reading.done()
    return Deployment(n, tuple(allocations))


def _read_cell(reading: Reading, lm: str, cell: Any) -> Allocation:
    if not isinstance(cell, dict) or "mode" not in cell or not cell.keys() <= {"mode", "amount"}:
        reading.wrong(f'{quoted(lm)} must be an object with "mode" and "amount" alone.')
        return OFF
    mode = cell["mode"]
    if mode not in MODES:
        shown = quoted(mode) if isinstance(mode, str) else kind(mode)
        reading.wrong(f"The mode of {quoted(lm)} must be off, cpu or gpu, not {shown}.")
        return OFF
    if "amount" not in cell:
        if mode != "off":
            reading.wrong(f"{quoted(lm)} on {mode} has no amount; say how many {_UNITS[mode]}.")
        return OFF
    given = cell["amount"]
    if not is_number(given) or given != given // 1:
        shown = f"{given:g}" if is_number(given) else kind(given)
        reading.wrong(f"The amount of {quoted(lm)} must be a whole number, not {shown}.")
        return OFF
    if abs(given) > MOST_AMOUNT:
        reading.wrong(f"The amount of {quoted(lm)} is beyond every node; use a small whole number.", Reason.VIOLATION)
    elif mode == "off" and given:
        reading.wrong(f"{quoted(lm)} is off but has the amount {given:g}; off goes with 0.", Reason.VIOLATION)
    elif mode == "off":
        return OFF
    elif given < 1:
        reading.wrong(
            f"{quoted(lm)} on {mode} has the amount {given:g}; give it 1 or more {_UNITS[mode]}, or turn it off.",
            Reason.VIOLATION,
        )
    else:
        return Allocation(cores=int(given)) if mode == "cpu" else Allocation(vgpus=int(given))
    return OFF
