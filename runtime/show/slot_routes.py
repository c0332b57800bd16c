"""The routes of one slot as tables: a target for each origin and LM, or the nodes that were allowed and the chosen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from domain.serving import Dispatch
from runtime.show.groups import MOST_NODES, single
from runtime.show.history import History
from runtime.show.kept import shares
from runtime.show.routes import Route, Routes
from runtime.show.tables import BUSIEST, LAST_PART, share_of, table

MOST_ALLOWED = 6
"""Allowed nodes that a cell names; of more, those of the largest weights."""


def slot_routes(history: History, routes: Routes, slot: int, node: str | None) -> Iterator[Table | Text]:
    """Show where requests could go in a slot; in large clusters from the origins with the most new prompts."""
    cluster = history.cluster
    shown = list(range(cluster.n_nodes))
    if node is not None:
        shown = [cluster.node_index[node]]
    elif cluster.n_nodes > MOST_NODES:
        shown = sorted(np.argsort(-_came(history, slot), kind="stable")[:BUSIEST].tolist())
    rows = {n: [routes.at(slot, n, i) for i in range(cluster.n_lms)] for n in shown}
    left = cluster.n_nodes - len(shown) if node is None else 0
    if not any(route.weights for row in rows.values() for route in row):
        yield _fixed(history, rows, left)
        return
    yield from _open(history, rows, left)
    yield Text("Where the prompts that came in this slot went")
    yield _went(history, slot, shown)
    if cluster.serving.dispatch is Dispatch.SPLIT:
        yield Text(f"{LAST_PART}\n", style="dim")


def _came(history: History, slot: int) -> NDArray[np.int64]:
    """[N] prompts that came to each origin in the slot."""
    came, records = history.arrival_slot == slot, history.records
    count = np.bincount(records.origin[came], records.prompts[came], minlength=history.cluster.n_nodes)
    return count.astype(np.int64)


def _fixed(history: History, rows: dict[int, list[Route]], left: int) -> Table:
    """A row for each origin, a column for each LM."""
    names = [node.name for node in history.cluster.nodes]
    made = table("from", *(f"{lm.name} to" for lm in history.cluster.lms))
    for n, row in rows.items():
        targets = (route.targets[0] if route.targets else None for route in row)
        made.add_row(names[n], *("nowhere" if t is None else "itself" if t == n else names[t] for t in targets))
    if left:
        made.add_row(f"{left} more", *([""] * history.cluster.n_lms))
    return made


def _open(history: History, rows: dict[int, list[Route]], left: int) -> Iterator[Table | Text]:
    """A row for each LM and group of origins that may send it to the same nodes."""
    names = [node.name for node in history.cluster.nodes]
    made = table("LM", "from", "may go to, by weight")
    for i, lm in enumerate(history.cluster.lms):
        groups = dict[Route, list[str]]()
        for n, row in rows.items():
            groups.setdefault(row[i], []).append(names[n])
        for k, (route, origins) in enumerate(groups.items()):
            whom = "every node" if len(origins) == len(rows) > 1 and not left else ", ".join(origins)
            made.add_row(lm.name if not k else "", whom, _allowed(names, route))
    yield made
    if left:
        yield Text(f"{left} more origins with fewer new prompts; --node NAME shows any.\n")


def _allowed(names: list[str], route: Route) -> str:
    if not route.targets:
        return "nowhere"
    if route.weights is None:
        return f"{names[route.targets[0]]} alone"
    pairs = list(zip(route.targets, route.weights, strict=True))
    told = [f"{names[target]} {weight:.3g}" for target, weight in pairs[:MOST_ALLOWED]]
    return ", ".join(told + ([f"{len(pairs) - MOST_ALLOWED} more"] if len(pairs) > MOST_ALLOWED else []))


def _went(history: History, slot: int, shown: list[int]) -> Table:
    """A row for each LM and origin that something came to."""
    cluster, records, groups = history.cluster, history.records, single(history.cluster)
    came, made, before = history.arrival_slot == slot, table("LM", "from", ">prompts", "to", ">in time"), -1
    for i, n in ((i, n) for i in range(cluster.n_lms) for n in shown):
        own = came & (records.lm == i) & (records.origin == n)
        if not own.any():
            continue
        amounts = np.zeros(cluster.n_nodes + 1)
        np.add.at(amounts, records.target[own], records.prompts[own])  # NOWHERE is the last
        total, served = int(records.prompts[own].sum()), int(records.prompts[own & records.success].sum())
        where = shares(groups.targets(n), amounts.tolist(), 3)
        lm = cluster.lms[i].name if i != before else ""
        made.add_row(lm, cluster.nodes[n].name, f"{total:,}", where, share_of(served, total))
        before = i
    return made
