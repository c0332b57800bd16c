"""The reading of a scheduler's answer where origins choose: for origins and LMs the nodes that may be used, by weight.

    {"routes": [{"origin": "*", "nodes": {"LM1": {"VM3": 1, "VM7": 0.5}, …}}]}

An entry is for one origin, or for all that have none of their own (`*`). A large cluster has that one alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from domain.cluster import Cluster
from domain.decisions import EVERYBODY, RoutingPlan
from graph.gate.reading import Reading, is_number
from graph.gate.strict_json import kind
from prompts.quoting import listed, quoted
from prompts.scheduler import MOST_ORIGINS


def parse_open_routing(cluster: Cluster, text: str) -> RoutingPlan:
    """Read the answer; a node that is left out has the weight 0, as one that must not be used.

    Raises:
        AnswerError: with one sentence for each mistake of form.
    """
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
        reading.wrong(f'"nodes" of {quoted(origin)} must be an object of LM names and nodes, not {kind(nodes)}.')
        return
    for lm, row in nodes.items():
        i = cluster.lm_index.get(lm)
        if i is None:
            reading.unknown("LM", lm, f'"nodes" of {quoted(origin)}', cluster.lm_index)
        else:
            _read_weights(cluster, reading, weights[i], f"{quoted(lm)} from {quoted(origin)}", row)
    servable = [cluster.lms[i].name for i in np.flatnonzero(cluster.feasible.any(axis=0))]
    absent = [lm for lm in servable if lm not in nodes]
    if absent:
        reading.wrong(f'"nodes" of {quoted(origin)} has no {listed(absent)}; give the nodes of each LM.')


def _read_weights(cluster: Cluster, reading: Reading, weights: NDArray[np.float64], what: str, row: Any) -> None:
    """Read the nodes of one LM into `weights`, [N]."""
    if not isinstance(row, dict):
        reading.wrong(f"The nodes of {what} must be an object of node names and weights, not {kind(row)}.")
        return
    for node, weight in row.items():
        n = cluster.node_index.get(node)
        if n is None:
            reading.unknown("node", node, f"the nodes of {what}", cluster.node_index)
        elif not is_number(weight):
            reading.wrong(f"The weight of {quoted(node)} for {what} must be a number, not {kind(weight)}.")
        else:
            weights[n] = weight
