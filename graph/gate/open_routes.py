"""The reading of a scheduler's answer where origins choose: for origins and LMs the nodes that may be used, by weight.

    {"routes": [{"origin": "*", "nodes": {"LM1": [{"node": "VM3", "weight": 1}, {"node": "VM7", "weight": 0.5}]}}]}

An entry is for one origin, or for all that have none of their own (`*`). A large cluster has that one alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.constraints import MOST_WEIGHT
from domain.decisions import EVERYBODY, RoutingPlan
from domain.ledger import Reason
from graph.gate.reading import Reading, is_number
from graph.gate.strict_json import kind
from prompts.quoting import listed, quoted
from prompts.scheduler import MOST_ORIGINS


def parse_open_routing(cluster: Cluster, text: str) -> RoutingPlan:
    """Read the answer; a node without a weight has 1. Raises AnswerError with a sentence for each mistake of form."""
    reading, rows = Reading(text, "routes", of=list), dict[str, NDArray[np.float64]]()
    for entry in reading.parts["routes"]:
        _read_entry(cluster, reading, rows, entry)
    missing = [] if EVERYBODY in rows else [node.name for node in cluster.nodes if node.name not in rows]
    if missing:
        whom = "no origin" if len(missing) == cluster.n_nodes else f"no {listed(missing)}"
        reading.wrong(f'"routes" has {whom}; give an entry with the origin "*", which stands for all others.')
    reading.done()
    others = rows.pop(EVERYBODY, np.zeros((cluster.n_lms, cluster.n_nodes)))
    return RoutingPlan.open(np.stack([rows.get(node.name, others) for node in cluster.nodes]) if rows else others[None])


def _read_entry(cluster: Cluster, reading: Reading, rows: dict[str, NDArray[np.float64]], entry: Any) -> None:
    if not isinstance(entry, dict) or entry.keys() != {"origin", "nodes"}:
        reading.wrong('Each entry of "routes" must be an object with "origin" and "nodes" alone.')
        return
    origin, nodes = entry["origin"], entry["nodes"]
    large = cluster.n_nodes > MOST_ORIGINS
    known = {EVERYBODY: -1} if large else {EVERYBODY: -1, **cluster.node_index}
    if not isinstance(origin, str):
        reading.wrong(f'The origin of an entry of "routes" must be a node name or "*", not {kind(origin)}.')
    elif origin not in known:
        reading.unknown("origin of its own" if large else "node", origin, '"routes"', known)
    elif origin in rows:
        reading.wrong(f'The origin {quoted(origin)} stands twice in "routes"; give it one entry.')
    else:
        rows[origin] = np.zeros((cluster.n_lms, cluster.n_nodes))
        _read_lms(cluster, reading, rows[origin], origin, nodes)


def _read_lms(cluster: Cluster, reading: Reading, weights: NDArray[np.float64], origin: str, nodes: Any) -> None:
    """Read the nodes of each LM into `weights`, [I, N]."""
    if not isinstance(nodes, dict):
        reading.wrong(f'"nodes" of {quoted(origin)} must be an object of LM names and lists, not {kind(nodes)}.')
        return
    for lm, cells in nodes.items():
        i = cluster.lm_index.get(lm)
        if i is None:
            reading.unknown("LM", lm, f'"nodes" of {quoted(origin)}', cluster.lm_index)
        else:
            _read_nodes(cluster, reading, weights[i], f"{quoted(lm)} from {quoted(origin)}", cells)
    servable = [cluster.lms[i].name for i in np.flatnonzero(cluster.feasible.any(axis=0))]
    absent = [lm for lm in servable if lm not in nodes]
    if absent:
        reading.wrong(f'"nodes" of {quoted(origin)} has no {listed(absent)}; list the nodes of each LM.')


def _read_nodes(cluster: Cluster, reading: Reading, weights: NDArray[np.float64], what: str, cells: Any) -> None:
    """Read the nodes of one LM into `weights`, [N]."""
    if not isinstance(cells, list):
        reading.wrong(f"The nodes of {what} must be a list, not {kind(cells)}.")
        return
    seen = set[str]()
    for cell in cells:
        if not isinstance(cell, dict) or "node" not in cell or not cell.keys() <= {"node", "weight"}:
            reading.wrong(f'Each of the nodes of {what} must be an object with "node" and "weight" alone.')
            continue
        node, weight = cell["node"], cell.get("weight", 1)
        if not isinstance(node, str):
            reading.wrong(f"A node of {what} must be a node name, not {kind(node)}.")
        elif node not in cluster.node_index:
            reading.unknown("node", node, f"the nodes of {what}", cluster.node_index)
        elif node in seen:
            reading.wrong(f"{quoted(node)} stands twice among the nodes of {what}; give it once.")
        elif not is_number(weight):
            reading.wrong(f"The weight of {quoted(node)} for {what} must be a number, not {kind(weight)}.")
        elif not 0 < weight <= MOST_WEIGHT:
            reading.wrong(
                f"The weight of {quoted(node)} for {what} is {weight:g}; use a number above 0 and at most "
                f"{MOST_WEIGHT:g}, or leave the node out.",
                Reason.VIOLATION,
            )
        else:
            seen.add(node)
            weights[cluster.node_index[node]] = weight
